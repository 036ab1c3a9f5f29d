//! The network: three convolutions and a linear layer.

use tch::Tensor;
use tch::nn::{self, ModuleT};

/// What the network sees, and what it tells apart.
pub struct Input {
    pub channels: usize,
    pub classes: usize,
}

pub fn network(vs: &nn::Path, input: &Input) -> impl ModuleT + use<> {
    let mut layers = nn::seq_t();
    let mut channels = input.channels as i64;
    for (number, width) in [32, 64, 128].into_iter().enumerate() {
        let path = vs / format!("conv{number}");
        let no_bias = nn::ConvConfig { padding: 1, bias: false, ..Default::default() };
        layers = layers
            .add(nn::conv2d(&path / "weight", channels, width, 3, no_bias))
            .add(nn::batch_norm2d(&path / "norm", width, Default::default()))
            .add_fn(|x: &Tensor| x.relu().max_pool2d_default(2));
        channels = width;
    }
    layers
        .add_fn(|x: &Tensor| x.adaptive_avg_pool2d([2, 2]).flatten(1, -1))
        .add_fn_t(|x: &Tensor, train| x.dropout(0.1, train))
        .add(nn::linear(vs / "classes", channels * 4, input.classes as i64, Default::default()))
}
