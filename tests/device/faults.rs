//! What is heard of a fault: of a transfer that panics where nobody would expect it, of a batch that does not come, of settings
//! that contradict each other.

use std::thread;
use std::time::Duration;

use sutler::{Dataset, Error, ErrorKind, HostTensor, InMemory, Loader, Result, SampleRng, Transfer};

use crate::fake_device::Device;
use crate::fake_memory::FakePinned;

/// A device that is gone when the copy should be over.
struct Gone;

impl Transfer<HostTensor<i64>> for Gone {
    type Landed = Loud;
    type Batch = Loud;
    type Host = ();

    fn start(&mut self, batch: HostTensor<i64>, (): &mut ()) -> Result<Loud> {
        Ok(Loud(batch[0]))
    }

    fn finish(&mut self) -> Result<()> {
        Err(Error::msg("the device is gone"))
    }

    fn receive(landed: Loud) -> Result<Loud> {
        Ok(landed)
    }
}

/// A transfer for whose host memory there is no room.
struct Unroomy;

struct NoRoom;

impl Default for NoRoom {
    fn default() -> Self {
        panic!("no room")
    }
}

impl Transfer<HostTensor<i64>> for Unroomy {
    type Landed = ();
    type Batch = ();
    type Host = NoRoom;

    fn start(&mut self, _: HostTensor<i64>, _: &mut NoRoom) -> Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    fn receive((): ()) -> Result<()> {
        Ok(())
    }
}

/// Panics when it is dropped, if it is odd.
#[derive(Debug)]
struct Loud(i64);

impl Drop for Loud {
    fn drop(&mut self) {
        if self.0 % 2 == 1 && !thread::panicking() {
            panic!("dropped");
        }
    }
}

#[test]
fn whatever_panics_on_the_thread_is_an_error_of_its_batch_and_never_the_end() {
    let loader = Loader::builder((0..10).collect::<InMemory<i64>>()).num_workers(1).build().unwrap();
    // A batch whose copy failed, and whose drop then panics.
    let mut prefetcher = loader.epoch().prefetch_to(Gone);
    for _ in 0..10 {
        prefetcher.next().unwrap().unwrap_err();
    }
    assert!(prefetcher.next().is_none());

    let errors: Vec<Error> = loader.epoch().prefetch_to(Unroomy).map(Result::unwrap_err).collect();
    assert_eq!(errors.len(), 10);
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Panic && error.to_string().contains("no room")));
}

#[test]
fn a_timeout_is_of_the_consumers_waiting_and_the_batch_is_not_lost() {
    let memory = FakePinned::new();
    let device = Device::new(&memory, 1);
    let run = |sample: Duration, step: Duration| {
        let dataset = (0..4).collect::<InMemory<i64>>().map(move |number: i64, _: &mut SampleRng| {
            thread::sleep(sample);
            Ok(number)
        });
        let builder = Loader::builder(dataset).num_workers(1).prefetch_batches(1).allocator(memory.clone());
        let loader = builder.timeout(Duration::from_millis(60)).build().unwrap();
        let (mut values, mut late) = (vec![], 0);
        for batch in loader.epoch().prefetch_to(device.transfer()) {
            match batch {
                Ok(batch) => values.push(batch.to_vec()[0]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Timeout);
                    assert!(error.to_string().contains("sample "), "{error}");
                    late += 1;
                }
            }
            thread::sleep(step);
        }
        assert_eq!(values, [0, 1, 2, 3]);
        late
    };
    // The thread waits for longer than that, and the consumer comes when the batch is there. (Only for the first does it wait.)
    assert!(run(Duration::from_millis(120), Duration::from_millis(400)) <= 2);
    assert!(run(Duration::from_millis(150), Duration::ZERO) >= 4);
}

#[test]
fn an_allocator_beside_another_is_an_error_that_names_both() {
    // Where `pin_memory` is there to be set: without the feature, nothing contradicts an allocator.
    let memory = FakePinned::new();
    let builder = Loader::builder((0..4).collect::<InMemory<i64>>()).allocator(memory.clone());
    #[cfg(feature = "tch")]
    {
        let error = builder.pin_memory(true).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("allocator") && error.to_string().contains("pin_memory"), "{error}");
    }
    #[cfg(not(feature = "tch"))]
    assert!(builder.build().unwrap().is_pinned());
}
