//! The bridge to torch: no copy, and every buffer comes back.
#![cfg(feature = "tch")]

use std::time::{Duration, Instant};

use sutler::torch::{ToDevice, cuda_if_available, load_cuda};
use sutler::{Bf16, Dataset, ErrorKind, F16, HostTensor, InMemory, Loader, SampleRng};
use tch::{Device, Kind, Tensor};

fn loader(num_workers: usize) -> Loader<InMemory<([f32; 6], i64)>> {
    let samples: InMemory<([f32; 6], i64)> = (0..40).map(|i| ([i as f32; 6], i)).collect();
    Loader::builder(samples).batch_size(8).num_workers(num_workers).build().unwrap()
}

fn first_of<S: Clone + Send + Sync + 'static>(samples: Vec<S>) -> <sutler::Stack as sutler::Collate<S>>::Batch
where
    sutler::Stack: sutler::Collate<S>,
{
    let n = samples.len();
    Loader::builder(InMemory::new(samples)).batch_size(n).build().unwrap().epoch().next().unwrap().unwrap()
}

#[test]
fn a_tensor_uses_the_batchs_own_memory() {
    let (values, labels) = loader(2).epoch().next().unwrap().unwrap();
    let (value_address, label_address) = (values.as_ptr() as usize, labels.as_ptr() as usize);
    let (values, labels) = (values, labels).to_device(Device::Cpu).unwrap();
    assert_eq!((values.data_ptr() as usize, labels.data_ptr() as usize), (value_address, label_address));
    assert_eq!((values.size(), labels.size()), (vec![8, 6], vec![8]));
    assert_eq!((values.kind(), labels.kind()), (Kind::Float, Kind::Int64));
    assert_eq!(Vec::<i64>::try_from(&labels).unwrap(), (0..8).collect::<Vec<i64>>());
    assert_eq!(values.double_value(&[5, 3]), 5.0);
}

#[test]
fn the_buffer_returns_when_the_last_view_is_dropped_on_whatever_thread() {
    let loader = loader(2);
    let mut epoch = loader.epoch().to_device(Device::Cpu);
    let (values, labels) = epoch.next().unwrap().unwrap();
    drop(epoch);
    drop(labels);
    // The batches that were ahead go back as their jobs end.
    let live_is = |count| {
        let patience = Instant::now();
        while loader.stats().buffers_live != count && patience.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        assert_eq!(loader.stats().buffers_live, count);
    };
    live_is(1);
    let view = values.narrow(0, 2, 3);
    drop(values);
    live_is(1);
    assert_eq!(view.double_value(&[0, 0]), 2.0);
    std::thread::spawn(move || drop(view)).join().unwrap();
    live_is(0);
}

#[test]
fn a_kept_tensor_is_never_overwritten() {
    let loader = loader(2);
    let kept: Vec<(Tensor, Tensor)> =
        (0..20).flat_map(|_| loader.epoch().to_device(Device::Cpu)).map(Result::unwrap).collect();
    for (number, (values, labels)) in kept.iter().enumerate() {
        let first = (number % 5 * 8) as i64;
        assert_eq!(Vec::<i64>::try_from(labels).unwrap(), (first..first + 8).collect::<Vec<i64>>());
        assert_eq!(values.sum(Kind::Double).double_value(&[]), (first..first + 8).sum::<i64>() as f64 * 6.0);
    }
}

#[test]
fn every_element_type_arrives_as_its_kind() {
    fn check<T: sutler::torch::TorchElement>(tensor: HostTensor<T>, kind: Kind) {
        let tensor = tensor.to_device(Device::Cpu).unwrap();
        assert_eq!((tensor.kind(), T::KIND, tensor.size()), (kind, kind, vec![2]));
        assert_eq!(tensor.to_kind(Kind::Double).sum(Kind::Double).double_value(&[]), 1.0);
    }
    check(first_of(vec![0_u8, 1]), Kind::Uint8);
    check(first_of(vec![0_i8, 1]), Kind::Int8);
    check(first_of(vec![0_i16, 1]), Kind::Int16);
    check(first_of(vec![0_i32, 1]), Kind::Int);
    check(first_of(vec![0_i64, 1]), Kind::Int64);
    check(first_of([0.0, 1.0].map(F16::from_f32).to_vec()), Kind::Half);
    check(first_of([0.0, 1.0].map(Bf16::from_f32).to_vec()), Kind::BFloat16);
    check(first_of(vec![0_f32, 1.0]), Kind::Float);
    check(first_of(vec![0_f64, 1.0]), Kind::Double);
    check(first_of(vec![false, true]), Kind::Bool);
}

#[test]
fn empty_samples_make_an_empty_tensor() {
    let tensor = first_of(vec![Vec::<f32>::new(); 3]).to_device(Device::Cpu).unwrap();
    assert_eq!((tensor.size(), tensor.numel()), (vec![3, 0], 0));
}

#[test]
fn an_error_of_the_loader_passes_through_and_the_epoch_goes_on() {
    let samples: InMemory<i64> = (0..6).collect();
    let fails = samples.map(|sample: i64, _: &mut SampleRng| match sample {
        3 => Err(sutler::Error::msg("three")),
        sample => Ok(sample),
    });
    let loader = Loader::builder(fails).batch_size(2).num_workers(2).build().unwrap();
    let batches: Vec<_> = loader.epoch().to_device(Device::Cpu).collect();
    assert_eq!(batches.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(batches[1].as_ref().unwrap_err().index(), Some(3));
}

#[test]
fn a_device_that_is_not_there_is_an_error_in_one_line() {
    assert_eq!(load_cuda(), load_cuda());
    if cuda_if_available() != Device::Cpu {
        return; // a machine with a GPU: its checks are elsewhere
    }
    let error = first_of(vec![1_f32]).to_device(Device::Cuda(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Torch);
    assert!(!error.to_string().contains('\n'), "{error}");
    assert!(error.to_string().contains("Cuda(0)"), "{error}");
}

#[test]
fn maps_become_maps_of_tensors_and_strings_stay_strings() {
    use std::collections::BTreeMap;
    type Sample = (BTreeMap<&'static str, f32>, String);
    let samples: InMemory<Sample> =
        (0..4).map(|i| (BTreeMap::from([("a", i as f32), ("b", 10.0 * i as f32)]), i.to_string())).collect();
    let loader = Loader::builder(samples).batch_size(4).build().unwrap();
    let (fields, names) = loader.epoch().to_device(Device::Cpu).next().unwrap().unwrap();
    assert_eq!(Vec::<f32>::try_from(&fields["b"]).unwrap(), [0.0, 10.0, 20.0, 30.0]);
    assert_eq!(names, ["0", "1", "2", "3"]);
}

#[test]
fn an_epoch_on_a_device_has_the_state_of_what_it_gave() {
    let loader = loader(2);
    let mut epoch = loader.epoch().to_device(Device::Cpu);
    drop(epoch.next().unwrap().unwrap());
    let state = epoch.state();
    assert_eq!(state.position(), 8);
    let rest = loader.resume(&state).unwrap().masked().to_device(Device::Cpu);
    let labels: Vec<i64> = rest
        .flat_map(|batch| {
            let ((_, labels), mask) = batch.unwrap();
            assert_eq!((mask.kind(), mask.all().int64_value(&[])), (Kind::Bool, 1));
            Vec::<i64>::try_from(&labels).unwrap()
        })
        .collect();
    assert_eq!(labels, (8..40).collect::<Vec<i64>>());
}

#[test]
#[cfg(feature = "vision")]
fn a_batch_with_the_channels_last_is_torchs_channels_last_once_it_is_permuted() {
    use sutler::image::Image;
    use sutler::transform::ToTensor;
    let image = |i: u8| Image::new((2, 5), 3, (0..30).map(|at| at + 30 * i).collect()).unwrap();
    let batch = |to_tensor: ToTensor<f32>| {
        let images: InMemory<Image> = (0..4).map(image).collect();
        let loader = Loader::builder(images.map(to_tensor)).batch_size(4).build().unwrap();
        loader.epoch().next().unwrap().unwrap().to_device(Device::Cpu).unwrap()
    };
    let (first, last) = (batch(ToTensor::f32()), batch(ToTensor::f32().channels_last()));
    let permuted = last.permute([0, 3, 1, 2]);
    assert_eq!((permuted.size(), permuted.stride()), (vec![4, 3, 2, 5], vec![30, 1, 15, 3]));
    assert_eq!(permuted.data_ptr(), last.data_ptr());
    assert!(permuted.equal(&first));
}

#[test]
#[cfg(feature = "vision")]
fn bytes_normalised_on_the_device_are_bit_for_bit_what_the_host_makes() {
    use sutler::image::{Image, Layout, Normalize};
    use sutler::torch::NormalizeOnDevice;
    use sutler::transform::ToTensor;

    // Every byte in every channel, and sides that differ.
    let image = |i: usize| Image::new((13, 59), 3, (0..13 * 59 * 3).map(|at| (at * 7 + i) as u8).collect()).unwrap();
    fn batch<T: sutler::torch::TorchElement>(image: &dyn Fn(usize) -> sutler::image::Image, to: ToTensor<T>) -> Tensor {
        let images: InMemory<_> = (0..4).map(image).collect();
        let loader = Loader::builder(images.map(to)).batch_size(4).build().unwrap();
        loader.epoch().to_device(Device::Cpu).next().unwrap().unwrap()
    }
    let on_device: [fn(_, _) -> _; 3] = [NormalizeOnDevice::f32, NormalizeOnDevice::f16, NormalizeOnDevice::bf16];
    for (number, normalize) in on_device.into_iter().enumerate() {
        let expected = match number {
            0 => batch(&image, ToTensor::f32().normalize(Normalize::IMAGENET)),
            1 => batch(&image, ToTensor::f16().normalize(Normalize::IMAGENET)),
            _ => batch(&image, ToTensor::bf16().normalize(Normalize::IMAGENET)),
        };
        for input in [Layout::ChannelsFirst, Layout::ChannelsLast] {
            let bytes = match input {
                Layout::ChannelsFirst => batch(&image, ToTensor::u8()),
                Layout::ChannelsLast => batch(&image, ToTensor::u8().channels_last()),
            };
            let before = bytes.copy();
            for output in [Layout::ChannelsFirst, Layout::ChannelsLast] {
                let normalize = normalize(Normalize::IMAGENET, Device::Cpu).unwrap().input(input).output(output);
                let found = normalize.apply(&bytes).unwrap();
                assert_eq!((found.kind(), found.size()), (expected.kind(), expected.size()));
                assert!(found.equal(&expected), "{input:?} to {output:?}");
                let strides = match output {
                    Layout::ChannelsFirst => [3 * 13 * 59, 13 * 59, 59, 1],
                    Layout::ChannelsLast => [3 * 13 * 59, 1, 3 * 59, 3],
                };
                assert_eq!(found.stride(), strides);
            }
            assert!(bytes.equal(&before), "what came in is not changed");
        }
    }
}

#[test]
#[cfg(feature = "vision")]
fn what_cannot_be_normalised_is_an_error_that_says_why() {
    use sutler::image::{Layout, Normalize};
    use sutler::torch::NormalizeOnDevice;
    let normalize = NormalizeOnDevice::f32(Normalize::IMAGENET, Device::Cpu).unwrap();
    let error = normalize.apply(&Tensor::zeros([2, 3, 4, 4], (Kind::Float, Device::Cpu))).unwrap_err();
    assert!(error.to_string().contains("ToTensor::u8()"), "{error}");
    for (shape, layout) in [
        (vec![2, 4, 4, 3], Layout::ChannelsFirst),
        (vec![2, 3, 4, 4], Layout::ChannelsLast),
        (vec![3, 4], Layout::ChannelsFirst),
    ] {
        let normalize = NormalizeOnDevice::f32(Normalize::IMAGENET, Device::Cpu).unwrap().input(layout);
        let error = normalize.apply(&Tensor::zeros(shape, (Kind::Uint8, Device::Cpu))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("3 channels"), "{error}");
    }
}

#[test]
fn a_prefetcher_to_a_device_that_is_not_there_gives_an_error_for_each_batch_and_every_buffer_back() {
    if cuda_if_available() != Device::Cpu {
        return;
    }
    let loader = loader(2);
    for depth in [1, 2] {
        let epoch = loader.epoch().to_device(Device::Cuda(0)).depth(depth);
        let errors: Vec<_> = epoch.map(Result::unwrap_err).collect();
        assert_eq!(errors.len(), 5);
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Torch);
            let text = error.to_string();
            assert!(!text.contains('\n') && text.contains("Cuda(0)"), "{text}");
        }
    }
    let patience = Instant::now();
    while loader.stats().buffers_live > 0 && patience.elapsed() < Duration::from_secs(10) {
        std::thread::yield_now();
    }
    assert_eq!(loader.stats().buffers_live, 0);
    assert_eq!(loader.stats().errors, 10);
}

#[test]
fn the_warning_that_memory_is_not_pinned_comes_once() {
    const CHILD: &str = "SUTLER_TEST_WARNS";
    if cuda_if_available() != Device::Cpu {
        return;
    }
    if std::env::var_os(CHILD).is_some() {
        for _ in 0..3 {
            let samples: InMemory<i64> = (0..4).collect();
            Loader::builder(samples).pin_memory(true).build().unwrap();
        }
        return;
    }
    // In a process of its own, since other tests may have been warned.
    let test = "the_warning_that_memory_is_not_pinned_comes_once";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8(child.stderr).unwrap();
    assert!(child.status.success(), "{text}");
    assert_eq!(text.matches("sutler: warning: pin_memory is set, but there is no accelerator (").count(), 1, "{text}");
}
