//! `Torch`: a TorchScript file, or the network that `make train` saved, on the GPU if there is one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sutler::ImageFolder;
use sutler::torch::cuda_if_available;
use tch::nn::{ModuleT, VarStore};
use tch::{CModule, Device, Kind, Tensor, no_grad};

use super::Model;
use crate::job::Label;
use crate::network::{Input, network};
use crate::store::Error;

pub struct Torch {
    name: String,
    device: Device,
    /// One batch at a time: another worker decodes meanwhile.
    network: Mutex<Network>,
    /// Of each class, if they are known.
    labels: Option<Vec<String>>,
}

enum Network {
    Script(CModule),
    /// The weights are those of the store.
    Trained(Box<dyn ModuleT>, #[expect(dead_code, reason = "it owns the weights")] VarStore),
}

/// How many labels an answer has.
const BEST: usize = 3;

impl Torch {
    /// Loads a TorchScript file that takes `[N, 3, side, side]` and gives a score for each class, `[N, CLASSES]`.
    pub fn script(path: &Path, labels: Option<&Path>, side: usize) -> Result<Self, Error> {
        let load = || -> Result<Self, Error> {
            let device = cuda_if_available();
            let mut module = CModule::load_on_device(path, device)?;
            module.set_eval();
            Torch::new(format!("TorchScript, {}", file_name(path)), device, Network::Script(module), labels, side)
        };
        load().map_err(|error| format!("--model {}: {}", path.display(), first_line(&*error)).into())
    }

    /// Loads the newest checkpoint of `examples/train` in a directory.
    pub fn trained(directory: &Path, labels: Option<&Path>, side: usize) -> Result<Self, Error> {
        let load = || -> Result<Self, Error> {
            let (step, path) = newest(directory)?;
            let classes = classes(&path)?;
            let device = cuda_if_available();
            let mut vs = VarStore::new(device);
            let network = network(&vs.root(), &Input { channels: 3, classes });
            vs.load(&path)?;
            Torch::new(format!("convnet, {step}"), device, Network::Trained(Box::new(network), vs), labels, side)
        };
        load().map_err(|error| format!("--checkpoint {}: {}", directory.display(), first_line(&*error)).into())
    }

    fn new(name: String, device: Device, network: Network, labels: Option<&Path>, side: usize) -> Result<Self, Error> {
        let labels = labels.map(read_labels).transpose()?;
        let torch = Torch { name, device, network: Mutex::new(network), labels };
        // A black image: what does not fit shows now and not with the first job.
        let classes = torch.scores(&vec![0.0; 3 * side * side], side)?.size()[1];
        match &torch.labels {
            Some(labels) if labels.len() as i64 != classes => {
                Err(format!("it tells {classes} classes apart, and --labels has {}", labels.len()).into())
            }
            _ => Ok(torch),
        }
    }

    /// From 0 to 1, of each class: `[N, CLASSES]`.
    fn scores(&self, images: &[f32], side: usize) -> Result<Tensor, Error> {
        let side = side as i64;
        let images = Tensor::from_slice(images).f_view([-1, 3, side, side])?.to_device(self.device);
        let scores = no_grad(|| match &*self.network.lock().unwrap_or_else(PoisonError::into_inner) {
            Network::Script(module) => module.forward_ts(&[&images]),
            Network::Trained(network, _) => Ok(network.forward_t(&images, false)),
        })?;
        if scores.size().len() != 2 || scores.size()[0] != images.size()[0] {
            return Err(format!("it made {:?} of {:?}, and not [N, CLASSES]", scores.size(), images.size()).into());
        }
        Ok(scores.f_softmax(-1, Kind::Float)?.to_device(Device::Cpu))
    }

    fn label(&self, class: i64) -> String {
        let known = self.labels.as_ref().and_then(|labels| labels.get(class as usize));
        known.cloned().unwrap_or_else(|| format!("class {class}"))
    }
}

impl Model for Torch {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(&self, images: &[f32], side: usize) -> Result<Vec<Vec<Label>>, Error> {
        let scores = self.scores(images, side)?;
        let best = BEST.min(scores.size()[1] as usize);
        let (scores, classes) = scores.f_topk(best as i64, -1, true, true)?;
        let scores = Vec::<f32>::try_from(scores.flatten(0, -1))?;
        let classes = Vec::<i64>::try_from(classes.flatten(0, -1))?;
        let labels: Vec<_> =
            classes.iter().zip(&scores).map(|(&class, &score)| Label { name: self.label(class), score }).collect();
        Ok(labels.chunks(best).map(<[Label]>::to_vec).collect())
    }
}

/// The name of the newest checkpoint, and its weights.
fn newest(directory: &Path) -> Result<(String, PathBuf), Error> {
    let mut newest = None;
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        let step: Option<u64> = name.strip_prefix("step-").and_then(|step| step.parse().ok());
        newest = newest.max(step.map(|step| (step, name)));
    }
    match newest {
        Some((_, name)) => Ok((name.replace('-', " "), directory.join(name).join("model.safetensors"))),
        None => Err("there is no checkpoint in it".into()),
    }
}

/// How many classes the network with these weights tells apart.
fn classes(weights: &Path) -> Result<usize, Error> {
    let weights = Tensor::read_safetensors(weights)?;
    let shape = |name: &str| weights.iter().find(|(other, _)| other == name).map(|(_, weight)| weight.size());
    match (shape("conv0.weight.weight").as_deref(), shape("classes.weight").as_deref()) {
        (Some([_, 3, _, _]), Some([classes, _])) => Ok(*classes as usize),
        (Some([_, channels, _, _]), _) => {
            Err(format!("its images have {channels} channels, and here they have 3").into())
        }
        _ => Err("it is none of examples/train".into()),
    }
}

/// The lines of a file, or the classes of a directory of training images.
fn read_labels(path: &Path) -> Result<Vec<String>, Error> {
    if path.is_dir() {
        return Ok(ImageFolder::open(path)?.classes().to_vec());
    }
    let text = fs::read_to_string(path).map_err(|error| format!("--labels {}: {error}", path.display()))?;
    Ok(text.lines().map(str::to_string).collect())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What torch says goes on, behind its first line, with kilobytes of a backtrace.
fn first_line(error: &dyn std::error::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 16;

    /// Two images.
    fn images() -> Vec<f32> {
        (0..2 * 3 * SIDE * SIDE).map(|number| (number % 101) as f32 / 50.0 - 1.0).collect()
    }

    /// What a network says of these, the best class first.
    fn expected(network: &dyn ModuleT, names: &[&str]) -> Vec<Vec<Label>> {
        let images = Tensor::from_slice(&images()).view([2, 3, SIDE as i64, SIDE as i64]);
        let scores = no_grad(|| network.forward_t(&images, false).softmax(-1, Kind::Float));
        (0..2)
            .map(|image| {
                let label = |class: usize| Label {
                    name: names[class].into(),
                    score: scores.double_value(&[image, class as i64]) as f32,
                };
                let mut labels: Vec<_> = (0..names.len()).map(label).collect();
                labels.sort_by(|a, b| b.score.total_cmp(&a.score));
                labels.truncate(BEST);
                labels
            })
            .collect()
    }

    fn train(directory: &Path, step: u32, channels: usize, classes: usize) -> (VarStore, Box<dyn ModuleT>) {
        tch::manual_seed(i64::from(step));
        let vs = VarStore::new(Device::Cpu);
        let network = network(&vs.root(), &Input { channels, classes });
        let folder = directory.join(format!("step-{step}"));
        fs::create_dir(&folder).unwrap();
        vs.save(folder.join("model.safetensors")).unwrap();
        (vs, Box::new(network))
    }

    fn error(result: Result<Torch, Error>) -> String {
        let error = result.err().unwrap().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    }

    #[test]
    fn the_newest_checkpoint_says_what_its_network_said() {
        let directory = tempfile::tempdir().unwrap();
        let _old = train(directory.path(), 9, 3, 4);
        let (_vs, network) = train(directory.path(), 10, 3, 5);
        let labels = directory.path().join("labels");
        fs::write(&labels, "ant\nbee\ncat\ndog\nelk\n").unwrap();
        let torch = Torch::trained(directory.path(), Some(&labels), SIDE).unwrap();
        assert_eq!(torch.name(), "convnet, step 10");
        let said = torch.run(&images(), SIDE).unwrap();
        let expected = expected(&*network, &["ant", "bee", "cat", "dog", "elk"]);
        for (said, expected) in said.iter().flatten().zip(expected.iter().flatten()) {
            assert!(said.name == expected.name && (said.score - expected.score).abs() < 1e-5, "{said:?} {expected:?}");
        }
        assert_eq!(said.iter().map(Vec::len).collect::<Vec<_>>(), [BEST, BEST]);

        let folder = directory.path().join("classes");
        for class in ["e", "d", "c", "b", "a"] {
            fs::create_dir_all(folder.join(class)).unwrap();
            fs::copy("fixtures/formats/rgb.png", folder.join(class).join("0.png")).unwrap();
        }
        let torch = Torch::trained(directory.path(), Some(&folder), SIDE).unwrap();
        assert_eq!([0, 4, 5].map(|class| torch.label(class)), ["a", "e", "class 5"]);

        fs::write(&labels, "ant\nbee\n").unwrap();
        let problem = error(Torch::trained(directory.path(), Some(&labels), SIDE));
        assert!(problem.contains("5 classes") && problem.contains("--labels has 2"), "{problem}");
    }

    #[test]
    fn what_is_no_checkpoint_of_a_network_for_colours_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let trained = || error(Torch::trained(directory.path(), None, SIDE));
        assert!(trained().ends_with("there is no checkpoint in it"));
        train(directory.path(), 1, 1, 10);
        assert!(trained().contains("1 channels"));
        let other = VarStore::new(Device::Cpu);
        let _ = other.root().zeros("other", &[1]);
        fs::create_dir(directory.path().join("step-2")).unwrap();
        other.save(directory.path().join("step-2/model.safetensors")).unwrap();
        assert!(trained().ends_with("it is none of examples/train"));
    }

    #[test]
    fn a_torchscript_file_says_what_was_traced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("two.pt");
        let image = Tensor::zeros([1, 3, SIDE as i64, SIDE as i64], (Kind::Float, Device::Cpu));
        // Two classes: the mean of the image, and its opposite.
        let mut trace = |inputs: &[Tensor]| {
            let mean = inputs[0].mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float);
            vec![Tensor::stack(&[&mean, &mean.neg()], 1)]
        };
        CModule::create_by_tracing("two", "forward", &[image], &mut trace).unwrap().save(&path).unwrap();
        let torch = Torch::script(&path, None, SIDE).unwrap();
        assert_eq!(torch.name(), "TorchScript, two.pt");
        let pixels = 3 * SIDE * SIDE;
        let said = torch.run(&[vec![1.0; pixels], vec![-2.0; pixels]].concat(), SIDE).unwrap();
        let best: Vec<_> = said.iter().map(|labels| (labels.len(), labels[0].name.as_str(), labels[0].score)).collect();
        let score = |mean: f32| 1.0 / (1.0 + (-2.0 * mean).exp());
        assert_eq!([best[0].0, best[1].0], [2, 2]);
        assert_eq!([best[0].1, best[1].1], ["class 0", "class 1"]);
        assert!((best[0].2 - score(1.0)).abs() < 1e-5 && (best[1].2 - score(2.0)).abs() < 1e-5, "{best:?}");

        fs::write(&path, "none").unwrap();
        assert!(error(Torch::script(&path, None, SIDE)).starts_with("--model "));
    }
}
