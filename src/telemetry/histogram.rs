//! `Histogram`: how values are distributed.

/// Values to be counted by size: weights, gradients, lengths. Logging it costs the loop a copy of them; they are
/// counted on the sink's thread.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram(Vec<f32>);

/// What a sink writes of it.
pub(super) struct Summary {
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) count: f64,
    pub(super) sum: f64,
    pub(super) sum_of_squares: f64,
    /// The upper limit of each bucket, and how many values it has. The lower limit is the upper one of that before.
    pub(super) buckets: Vec<(f64, f64)>,
}

/// As many as TensorBoard shows.
const BUCKETS: usize = 30;

impl Histogram {
    /// Of these values. Such as are not finite are left out.
    pub fn new(values: impl Into<Vec<f32>>) -> Self {
        Histogram(values.into())
    }

    /// What was given.
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// `None` if there is no finite value.
    pub(super) fn summary(&self) -> Option<Summary> {
        let values = || self.0.iter().filter(|value| value.is_finite()).map(|value| f64::from(*value));
        let (min, max) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
        let width = (max - min) / BUCKETS as f64;
        let mut counts = [0.0; BUCKETS];
        for value in values() {
            let bucket = if width > 0.0 { ((value - min) / width) as usize } else { 0 };
            counts[bucket.min(BUCKETS - 1)] += 1.0;
        }
        // The last limit is the maximum itself, which `width` may have rounded away from.
        let limit = |bucket| if bucket + 1 == BUCKETS { max } else { min + width * (bucket + 1) as f64 };
        Some(Summary {
            min,
            max,
            count: counts.iter().sum(),
            sum: values().sum(),
            sum_of_squares: values().map(|value| value * value).sum(),
            buckets: counts.iter().enumerate().map(|(bucket, count)| (limit(bucket), *count)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_value_is_counted_once_in_the_bucket_whose_limits_it_lies_between() {
        let values: Vec<f32> = (0..1000).map(|number| ((number * 7919) % 1009) as f32 * 0.37 - 80.0).collect();
        let Summary { min, max, count, sum, sum_of_squares, buckets } = Histogram::new(&values[..]).summary().unwrap();
        let exact = |value: &f32| f64::from(*value);
        assert_eq!(count, 1000.0);
        assert_eq!(sum, values.iter().map(exact).sum::<f64>());
        assert_eq!(sum_of_squares, values.iter().map(|value| exact(value).powi(2)).sum::<f64>());
        assert_eq!((buckets.len(), buckets[BUCKETS - 1].0), (BUCKETS, max));
        let mut lower = f64::NEG_INFINITY;
        for (limit, count) in buckets {
            let width = (max - min) / BUCKETS as f64;
            let within = |slack: f64| {
                values.iter().map(exact).filter(|value| *value > lower + slack && *value <= limit + slack).count()
            };
            // A value on a limit may be counted on either side of it.
            let slack = width * 1e-9;
            assert!(
                (within(-slack).min(within(slack)) as f64..=within(-slack).max(within(slack)) as f64).contains(&count)
            );
            lower = limit;
        }
    }

    #[test]
    fn equal_values_and_values_that_are_no_numbers_make_no_trouble() {
        assert!(Histogram::new([]).summary().is_none());
        assert!(Histogram::new([f32::NAN, f32::INFINITY]).summary().is_none());
        let equal = Histogram::new([2.0, f32::NAN, 2.0, f32::NEG_INFINITY]).summary().unwrap();
        assert_eq!((equal.min, equal.max, equal.count, equal.sum), (2.0, 2.0, 2.0, 4.0));
        assert_eq!(equal.buckets.iter().map(|(_, count)| count).sum::<f64>(), 2.0);
        let extreme = Histogram::new([f32::MIN, f32::MAX]).summary().unwrap();
        assert_eq!((extreme.buckets[0].1, extreme.buckets[BUCKETS - 1].1), (1.0, 1.0));
    }
}
