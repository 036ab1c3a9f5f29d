//! Readings as metrics, by the names that they have in a log. What a reading does not know is left out.

use super::{DiskReading, GpuReading, HostReading, ThroughputReading};
use crate::telemetry::Metrics;

/// `gpu/0/memory_used` and `gpu/0/memory_total` in bytes, `gpu/0/utilization` from 0 to 1, `gpu/0/temperature` in °C,
/// by the GPU's number.
impl From<&GpuReading> for Metrics {
    fn from(gpu: &GpuReading) -> Self {
        let &GpuReading { index, memory_used, memory_total, utilization, temperature, .. } = gpu;
        let told = [
            ("memory_used", memory_used.map(|bytes| bytes as f64)),
            ("memory_total", memory_total.map(|bytes| bytes as f64)),
            ("utilization", utilization),
            ("temperature", temperature.map(f64::from)),
        ];
        told.into_iter().filter_map(|(name, value)| Some((format!("gpu/{index}/{name}"), value?))).collect()
    }
}

/// Those of all GPUs: what a [`Gpu`](super::Gpu) reads.
impl From<&Vec<GpuReading>> for Metrics {
    fn from(gpus: &Vec<GpuReading>) -> Self {
        let mut metrics = Metrics::default();
        gpus.iter().for_each(|gpu| metrics.extend(gpu));
        metrics
    }
}

/// `host/memory_total`, `host/memory_available`, `host/memory_used`, `host/swap_total`, `host/swap_used` and
/// `host/resident` in bytes, `host/cpu` and `host/process_cpu` from 0 to 1.
impl From<&HostReading> for Metrics {
    fn from(host: &HostReading) -> Self {
        told([
            ("host/memory_total", Some(host.memory_total as f64)),
            ("host/memory_available", Some(host.memory_available as f64)),
            ("host/memory_used", Some(host.memory_used as f64)),
            ("host/swap_total", Some(host.swap_total as f64)),
            ("host/swap_used", Some(host.swap_used as f64)),
            ("host/resident", host.resident.map(|bytes| bytes as f64)),
            ("host/cpu", host.cpu),
            ("host/process_cpu", host.process_cpu),
        ])
    }
}

/// `disk/total` and `disk/free` in bytes, `disk/read_per_second` and `disk/written_per_second`.
impl From<&DiskReading> for Metrics {
    fn from(disk: &DiskReading) -> Self {
        told([
            ("disk/total", Some(disk.total as f64)),
            ("disk/free", Some(disk.free as f64)),
            ("disk/read_per_second", disk.read_per_second),
            ("disk/written_per_second", disk.written_per_second),
        ])
    }
}

/// `throughput/batches_per_second`, `throughput/samples_per_second`, `throughput/bytes_per_second`, and from 0 to 1
/// `throughput/wait_share`, `throughput/worker_utilization` and `throughput/queue_occupancy`.
impl From<&ThroughputReading> for Metrics {
    fn from(loader: &ThroughputReading) -> Self {
        told([
            ("throughput/batches_per_second", loader.batches_per_second),
            ("throughput/samples_per_second", loader.samples_per_second),
            ("throughput/bytes_per_second", loader.bytes_per_second),
            ("throughput/wait_share", loader.consumer_wait_share),
            ("throughput/worker_utilization", loader.worker_utilization),
            ("throughput/queue_occupancy", loader.queue_occupancy),
        ])
    }
}

fn told<const LEN: usize>(values: [(&'static str, Option<f64>); LEN]) -> Metrics {
    values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(metrics: &Metrics) -> Vec<(&str, f64)> {
        metrics.scalars().collect()
    }

    #[test]
    fn gpus_are_told_apart_by_their_numbers_and_what_they_do_not_tell_is_left_out() {
        let first = GpuReading {
            index: 0,
            name: Some("H200".into()),
            memory_used: Some(5 << 30),
            memory_total: Some(139 << 30),
            utilization: Some(0.5),
            temperature: Some(41),
        };
        let expected = [
            ("gpu/0/memory_used", (5_u64 << 30) as f64),
            ("gpu/0/memory_total", (139_u64 << 30) as f64),
            ("gpu/0/utilization", 0.5),
            ("gpu/0/temperature", 41.0),
        ];
        assert_eq!(listed(&Metrics::from(&first)), expected);
        let third = GpuReading { index: 2, temperature: Some(7), ..GpuReading::default() };
        let lost = GpuReading { index: 1, ..GpuReading::default() };
        let all = Metrics::from(&vec![first, lost, third]);
        assert_eq!(listed(&all), [&expected[..], &[("gpu/2/temperature", 7.0)]].concat());
    }

    #[test]
    fn what_was_read_of_the_machine_a_disk_and_a_loader_keeps_its_name() {
        let host = HostReading {
            memory_total: 1,
            memory_available: 2,
            memory_used: 3,
            swap_total: 4,
            swap_used: 5,
            resident: Some(6),
            processors: 7,
            cpu: None,
            process_cpu: Some(0.75),
        };
        let expected = [
            ("host/memory_total", 1.0),
            ("host/memory_available", 2.0),
            ("host/memory_used", 3.0),
            ("host/swap_total", 4.0),
            ("host/swap_used", 5.0),
            ("host/resident", 6.0),
            ("host/process_cpu", 0.75),
        ];
        assert_eq!(listed(&Metrics::from(&host)), expected);
        let disk = DiskReading { total: 9, free: 8, read_per_second: Some(7.0), written_per_second: Some(6.0) };
        let expected =
            [("disk/total", 9.0), ("disk/free", 8.0), ("disk/read_per_second", 7.0), ("disk/written_per_second", 6.0)];
        assert_eq!(listed(&Metrics::from(&disk)), expected);
        let loader = ThroughputReading {
            batches_per_second: Some(1.0),
            samples_per_second: Some(2.0),
            bytes_per_second: Some(3.0),
            consumer_wait_share: Some(0.4),
            worker_utilization: Some(0.5),
            queue_occupancy: Some(0.6),
        };
        let expected = [
            ("throughput/batches_per_second", 1.0),
            ("throughput/samples_per_second", 2.0),
            ("throughput/bytes_per_second", 3.0),
            ("throughput/wait_share", 0.4),
            ("throughput/worker_utilization", 0.5),
            ("throughput/queue_occupancy", 0.6),
        ];
        assert_eq!(listed(&Metrics::from(&loader)), expected);
        assert_eq!(listed(&Metrics::from(&ThroughputReading::default())), []);
    }
}
