//! `MeanColour`: the named colour that is nearest to the mean of an image. It stands in for a model where there is no
//! torch, so that the service runs anywhere; it knows nothing of what is on an image.

use sutler::image::Normalize;

use super::Model;
use crate::job::Label;
use crate::store::Error;

pub struct MeanColour;

/// The sixteen colours of HTML 4.
const COLOURS: [(&str, [u8; 3]); 16] = [
    ("black", [0, 0, 0]),
    ("silver", [192, 192, 192]),
    ("gray", [128, 128, 128]),
    ("white", [255, 255, 255]),
    ("maroon", [128, 0, 0]),
    ("red", [255, 0, 0]),
    ("purple", [128, 0, 128]),
    ("fuchsia", [255, 0, 255]),
    ("green", [0, 128, 0]),
    ("lime", [0, 255, 0]),
    ("olive", [128, 128, 0]),
    ("yellow", [255, 255, 0]),
    ("navy", [0, 0, 128]),
    ("blue", [0, 0, 255]),
    ("teal", [0, 128, 128]),
    ("aqua", [0, 255, 255]),
];

impl Model for MeanColour {
    fn name(&self) -> &str {
        "mean colour (no torch)"
    }

    fn run(&self, images: &[f32], side: usize) -> Result<Vec<Vec<Label>>, Error> {
        Ok(images.chunks(3 * side * side).map(labels).collect())
    }
}

/// The three nearest colours. Their score is 1 where the mean is that colour, and 0 at the other end of the cube.
fn labels(image: &[f32]) -> Vec<Label> {
    let mut labels: Vec<Label> = COLOURS.iter().map(|(name, colour)| label(name, *colour, mean(image))).collect();
    labels.sort_by(|a, b| b.score.total_cmp(&a.score));
    labels.truncate(3);
    labels
}

fn label(name: &str, colour: [u8; 3], mean: [f32; 3]) -> Label {
    let square = |channel: usize| (mean[channel] - f32::from(colour[channel]) / 255.0).powi(2);
    let distance = (0..3).map(square).sum::<f32>().sqrt();
    Label { name: name.into(), score: (1.0 - distance / 3f32.sqrt()).max(0.0) }
}

/// Of each channel, from 0 to 1.
fn mean(image: &[f32]) -> [f32; 3] {
    let Normalize { mean, std } = Normalize::IMAGENET;
    let pixels = image.len() / 3;
    std::array::from_fn(|channel| {
        let plane = &image[channel * pixels..][..pixels];
        plane.iter().sum::<f32>() / pixels as f32 * std[channel] + mean[channel]
    })
}
