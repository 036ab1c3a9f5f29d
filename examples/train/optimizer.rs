//! `AdamW` (Loshchilov and Hutter, 2019), with the arithmetic and the defaults of `torch.optim.AdamW`.
//!
//! tch has one as well, but its moments can be neither saved nor loaded, and a run that goes on would start without any.

use std::path::Path;

use tch::nn::VarStore;
use tch::{TchError, Tensor, no_grad};

const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;
const WEIGHT_DECAY: f64 = 1e-2;

pub struct AdamW {
    parameters: Vec<Parameter>,
    /// How many there have been.
    steps: i64,
}

struct Parameter {
    name: String,
    value: Tensor,
    /// The running mean of the gradients,
    exp_avg: Tensor,
    /// and that of their squares.
    exp_avg_sq: Tensor,
}

impl AdamW {
    /// Optimizes the variables of `vs` that want a gradient now.
    pub fn new(vs: &VarStore) -> Self {
        let mut parameters: Vec<Parameter> = vs
            .variables()
            .into_iter()
            .filter(|(_, value)| value.requires_grad())
            .map(|(name, value)| {
                let zeros = no_grad(|| value.zeros_like());
                Parameter { name, exp_avg: zeros.copy(), exp_avg_sq: zeros, value }
            })
            .collect();
        parameters.sort_by(|a, b| a.name.cmp(&b.name)); // a map has no order
        AdamW { parameters, steps: 0 }
    }

    pub fn zero_grad(&mut self) {
        for parameter in &mut self.parameters {
            parameter.value.zero_grad();
        }
    }

    /// The gradients of the last `backward`. They are not copies: what is changed here is what [`step`](AdamW::step) uses.
    pub fn gradients(&self) -> Vec<Tensor> {
        self.parameters.iter().map(|parameter| parameter.value.grad()).filter(Tensor::defined).collect()
    }

    pub fn step(&mut self, lr: f64) {
        self.steps += 1;
        let power = self.steps as f64;
        let (beta1, beta2) = BETAS;
        // The means began at zero, and are too small by these factors.
        let (bias1, bias2) = (1.0 - beta1.powf(power), 1.0 - beta2.powf(power));
        no_grad(|| {
            for Parameter { value, exp_avg, exp_avg_sq, .. } in &mut self.parameters {
                let gradient = value.grad();
                if !gradient.defined() {
                    continue; // no part of this loss
                }
                let _ = value.g_mul_scalar_(1.0 - lr * WEIGHT_DECAY);
                let _ = exp_avg.lerp_(&gradient, 1.0 - beta1);
                let _ = exp_avg_sq.lerp_(&gradient.square(), 1.0 - beta2);
                let deviation = exp_avg_sq.sqrt().g_mul_scalar_(1.0 / bias2.sqrt()).g_add_scalar_(EPSILON);
                let _ = value.g_sub_(&(&*exp_avg / deviation).g_mul_scalar_(lr / bias1));
            }
        });
    }

    /// Writes the moments as a safetensors file.
    pub fn save(&self, file: &Path) -> Result<(), TchError> {
        let mut tensors = vec![(STEPS.to_string(), Tensor::from(self.steps))];
        for Parameter { name, exp_avg, exp_avg_sq, .. } in &self.parameters {
            tensors.push((format!("{name}.exp_avg"), exp_avg.shallow_clone()));
            tensors.push((format!("{name}.exp_avg_sq"), exp_avg_sq.shallow_clone()));
        }
        Tensor::write_safetensors(&tensors, file)
    }

    /// Goes on with the moments of a file that [`save`](AdamW::save) wrote for the same network.
    pub fn load(&mut self, file: &Path) -> Result<(), TchError> {
        let tensors: std::collections::HashMap<_, _> = Tensor::read_safetensors(file)?.into_iter().collect();
        let find = |name: String| match tensors.get(&name) {
            Some(tensor) => Ok(tensor),
            None => Err(TchError::TensorNameNotFound(name, file.display().to_string())),
        };
        for Parameter { name, exp_avg, exp_avg_sq, .. } in &mut self.parameters {
            exp_avg.f_copy_(find(format!("{name}.exp_avg"))?)?;
            exp_avg_sq.f_copy_(find(format!("{name}.exp_avg_sq"))?)?;
        }
        self.steps = find(STEPS.to_string())?.try_into()?;
        Ok(())
    }
}

/// The name of their number, among those of variables.
const STEPS: &str = "steps";

#[cfg(test)]
mod tests {
    use tch::nn::{self, OptimizerConfig};
    use tch::{Device, Kind};

    use super::*;

    /// No random numbers: the generator belongs to the whole process, and other tests count on what they draw.
    fn variables() -> (VarStore, Tensor) {
        let vs = VarStore::new(Device::Cpu);
        let weights = vs.root().var_copy("weights", &Tensor::from_slice(&[1f32, -2.0, 0.5]));
        let _running = vs.root().zeros_no_train("running_mean", &[3]);
        (vs, weights)
    }

    /// Another gradient in every step.
    fn loss(weights: &Tensor, step: i64) -> Tensor {
        (weights.square() * Tensor::from_slice(&[1f32, 0.1, -3.0]) * (step - 2)).sum(Kind::Float)
    }

    fn step(optimizer: &mut AdamW, weights: &Tensor, number: i64) {
        optimizer.zero_grad();
        loss(weights, number).backward();
        optimizer.step(0.1);
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.try_into().unwrap()
    }

    #[test]
    fn steps_are_those_of_torch() {
        let (ours, theirs) = (variables(), variables());
        let mut optimizer = AdamW::new(&ours.0);
        let mut torch = nn::AdamW::default().build(&theirs.0, 0.1).unwrap();
        for number in 0..20 {
            step(&mut optimizer, &ours.1, number);
            torch.backward_step(&loss(&theirs.1, number));
            // Torch rounds in another order, in numbers of 24 bits; a step is 0.1 at most.
            let difference = (&ours.1 - &theirs.1).abs().max().double_value(&[]);
            assert!(difference < 1e-6, "step {number}: {difference}");
        }
        assert_eq!(optimizer.gradients().len(), 1);
    }

    #[test]
    fn one_that_was_saved_goes_on_as_if_it_had_not_been() {
        let file = tempfile::tempdir().unwrap();
        let file = file.path().join("optimizer.safetensors");
        let (whole, first, second) = (variables(), variables(), variables());
        let mut optimizer = AdamW::new(&whole.0);
        (0..6).for_each(|number| step(&mut optimizer, &whole.1, number));

        let mut optimizer = AdamW::new(&first.0);
        (0..3).for_each(|number| step(&mut optimizer, &first.1, number));
        optimizer.save(&file).unwrap();
        let mut optimizer = AdamW::new(&second.0);
        optimizer.load(&file).unwrap();
        no_grad(|| second.1.shallow_clone().copy_(&first.1));
        (3..6).for_each(|number| step(&mut optimizer, &second.1, number));
        assert_eq!(values(&second.1), values(&whole.1));
    }

    #[test]
    fn moments_of_another_network_are_refused() {
        let file = tempfile::tempdir().unwrap();
        let file = file.path().join("optimizer.safetensors");
        AdamW::new(&VarStore::new(Device::Cpu)).save(&file).unwrap();
        let error = AdamW::new(&variables().0).load(&file).unwrap_err();
        assert!(error.to_string().contains("weights.exp_avg"), "{error}");
    }
}
