//! The stress test finds the mistake that it is there to find: host memory that goes back before the device has read it.
//!
//! To read memory while somebody writes there is undefined, for a test as well. So these do without threads that could: the
//! loader's samples are loaded by the thread that calls the transfer, and the device reads the copy before when that thread
//! begins the next one. By then another batch has been written to the buffer, in full, and nobody is writing. So this is also
//! certain, and not a matter of luck.

use crate::fake_device::{Device, EarlyRelease, Faults};
use crate::fake_memory::FakePinned;
use crate::stress::{Course, Seen, run};

fn course(depth: usize) -> Course {
    Course { seed: 21, num_workers: 0, depth, epochs: 8, faults: Faults::NONE, is_interrupted: false }
}

/// An epoch has that many.
const BATCHES: usize = 25;

#[test]
fn host_memory_that_goes_back_too_early_is_noticed_in_every_batch_that_is_followed_by_another() {
    for depth in [1, 2] {
        let memory = FakePinned::new();
        let device = Device::last_minute(&memory);
        let seen = run(&device, &memory, &course(depth), EarlyRelease);
        // The last batch of an epoch is not overwritten before the device reads it.
        assert_eq!(seen, Seen { right: 8, wrong: 8 * (BATCHES - 1), ..Seen::default() });
        assert!(device.books().corrupt >= seen.wrong);
    }
}

#[test]
fn the_same_device_gets_the_right_values_from_whoever_waits_for_it() {
    for depth in [1, 2] {
        let memory = FakePinned::new();
        let device = Device::last_minute(&memory);
        let seen = run(&device, &memory, &course(depth), |transfer| transfer);
        assert_eq!(seen, Seen { right: 8 * BATCHES, ..Seen::default() });
        assert_eq!((device.books().corrupt, device.books().freed), (0, 0));
    }
}
