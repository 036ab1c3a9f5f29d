//! `GradScaler`: keeps gradients in the range of 16-bit floats (`torch.amp.GradScaler`).
//!
//! Small gradients would vanish in half precision. So the loss is multiplied before the backward pass, and the gradients
//! are divided after it. The factor grows as long as nothing overflows; where something does, the step is skipped.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

const INIT_SCALE: f64 = 65536.0;
const GROWTH_FACTOR: f64 = 2.0;
const BACKOFF_FACTOR: f64 = 0.5;
const GROWTH_INTERVAL: u32 = 2000;

/// One that is not enabled changes nothing, and never waits for the GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradScaler {
    enabled: bool,
    scale: f64,
    /// Steps since the scale changed, or was to blame for a step that was skipped.
    clean_steps: u32,
}

impl GradScaler {
    pub fn new(enabled: bool) -> Self {
        GradScaler { enabled, scale: if enabled { INIT_SCALE } else { 1.0 }, clean_steps: 0 }
    }

    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// What the loss is multiplied by.
    pub fn factor(&self) -> f64 {
        self.scale
    }

    /// The loss to call `backward` of.
    pub fn scale(&self, loss: &Tensor) -> Tensor {
        if self.enabled { loss * self.scale } else { loss.shallow_clone() }
    }

    /// Makes the gradients those of the loss itself, in place. False if one of them is infinite or no number: the step is
    /// then to be skipped.
    pub fn unscale(&self, gradients: &mut [Tensor]) -> bool {
        let Some(device) = gradients.first().map(Tensor::device).filter(|_| self.enabled) else { return true };
        let options = (Kind::Float, device);
        let mut overflow = Tensor::zeros([], options);
        let inverse = Tensor::full([], 1.0 / self.scale, options);
        for gradient in gradients {
            gradient.internal_amp_non_finite_check_and_unscale(&mut overflow, &inverse);
        }
        // The one place where a step waits for the GPU: what it does next depends on the answer.
        overflow.double_value(&[]) == 0.0
    }

    /// The scale of the next step, after one whose gradients were `finite` or not.
    pub fn update(&mut self, finite: bool) {
        if !self.enabled {
            return;
        }
        self.clean_steps = if finite { self.clean_steps + 1 } else { 0 };
        if !finite {
            self.scale *= BACKOFF_FACTOR;
        } else if self.clean_steps == GROWTH_INTERVAL {
            self.clean_steps = 0;
            let grown = self.scale * GROWTH_FACTOR;
            // Losses and gradients are of 32 bits, and what it is multiplied by must be one as well.
            self.scale = if (grown as f32).is_finite() { grown } else { self.scale };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.try_into().unwrap()
    }

    #[test]
    fn gradients_are_those_of_the_unscaled_loss() {
        let scaler = GradScaler::new(true);
        let weights = Tensor::from_slice(&[1f32, 2.0]).set_requires_grad(true);
        let loss = (&weights * &weights).sum(Kind::Float);
        scaler.scale(&loss).backward();
        let mut gradients = [weights.grad()];
        assert_eq!(values(&gradients[0]), [2.0 * 65536.0, 4.0 * 65536.0]);
        assert!(scaler.unscale(&mut gradients));
        assert_eq!(values(&weights.grad()), [2.0, 4.0]);
    }

    #[test]
    fn what_is_not_finite_is_found_in_any_gradient() {
        let scaler = GradScaler::new(true);
        for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            for place in 0..2 {
                let mut numbers = [[1f32, 2.0], [3.0, 4.0]];
                numbers[place][1] = bad;
                let mut gradients = numbers.map(|numbers| Tensor::from_slice(&numbers));
                assert!(!scaler.unscale(&mut gradients), "{bad} in gradient {place}");
            }
        }
        assert!(scaler.unscale(&mut [Tensor::from_slice(&[f32::MAX])]));
        assert!(scaler.unscale(&mut []));
    }

    #[test]
    fn the_scale_halves_when_a_step_is_skipped_and_doubles_after_2000_clean_ones() {
        let mut scaler = GradScaler::new(true);
        scaler.update(false);
        assert_eq!(scaler.factor(), 32768.0);
        for _ in 0..1999 {
            scaler.update(true);
        }
        assert_eq!(scaler.factor(), 32768.0);
        scaler.update(false); // the count begins again
        for _ in 0..1999 {
            scaler.update(true);
        }
        assert_eq!(scaler.factor(), 16384.0);
        scaler.update(true);
        assert_eq!((scaler.factor(), scaler.clean_steps), (32768.0, 0));
    }

    #[test]
    fn the_scale_stays_a_number_of_32_bits() {
        let mut scaler = GradScaler::new(true);
        for _ in 0..2000 * 200 {
            scaler.update(true);
        }
        assert_eq!(scaler.factor(), 2f64.powi(127));
    }

    #[test]
    fn one_that_is_not_enabled_changes_nothing() {
        let mut scaler = GradScaler::new(false);
        let mut gradients = [Tensor::from_slice(&[f32::INFINITY, 1.0])];
        assert!(scaler.unscale(&mut gradients));
        assert_eq!(values(&gradients[0]), [f32::INFINITY, 1.0]);
        assert_eq!(values(&scaler.scale(&Tensor::from_slice(&[3f32]))), [3.0]);
        scaler.update(false);
        assert_eq!(scaler, GradScaler::new(false));
    }
}
