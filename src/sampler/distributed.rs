//! `Distributed`: which of several processes this is; `DistributedSampler`: torch's order for it.

use std::env;
use std::ffi::OsString;

use super::{Order, Sampler, with_room};
use crate::error::{Error, ErrorKind, Result};
use crate::rng::Generator;

/// This process among those that train together: its rank, and how many there are.
///
/// Give it to [`LoaderBuilder::distributed`](crate::LoaderBuilder::distributed): the loader then serves this rank's share of
/// each epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distributed {
    rank: usize,
    world_size: usize,
    local_rank: Option<usize>,
    drop_last: bool,
}

impl Default for Distributed {
    /// A process alone: rank 0 of 1.
    fn default() -> Self {
        Distributed { rank: 0, world_size: 1, local_rank: None, drop_last: false }
    }
}

impl Distributed {
    /// Process `rank` of `world_size`.
    ///
    /// # Errors
    ///
    /// If `rank` is not below `world_size`.
    pub fn new(rank: usize, world_size: usize) -> Result<Self> {
        if rank >= world_size {
            return Err(Error::new(
                ErrorKind::Config,
                format!("rank {rank} of a world of {world_size}: ranks go from 0 to the world size less one"),
            ));
        }
        Ok(Distributed { rank, world_size, ..Distributed::default() })
    }

    /// What the launcher says in the environment; a process alone, if there is none.
    ///
    /// | launcher | rank | world size | local rank |
    /// |---|---|---|---|
    /// | torchrun | `RANK` | `WORLD_SIZE` | `LOCAL_RANK` |
    /// | Open MPI's mpirun | `OMPI_COMM_WORLD_RANK` | `OMPI_COMM_WORLD_SIZE` | `OMPI_COMM_WORLD_LOCAL_RANK` |
    /// | Slurm's srun | `SLURM_PROCID` | `SLURM_NTASKS` | `SLURM_LOCALID` |
    ///
    /// Of several, the one that started this process counts: torchrun under the others, mpirun under srun.
    ///
    /// # Errors
    ///
    /// If a launcher's variables are set in part, are not numbers, or give a rank beyond the world; or if `RANK` and
    /// `WORLD_SIZE` contradict mpirun or srun and it was not torchrun that set them (it sets `TORCHELASTIC_RUN_ID`). The
    /// text names the variables.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let torchrun = TORCHRUN.tells(&variable)?;
        if torchrun.is_some() && variable("TORCHELASTIC_RUN_ID").is_some() {
            return Ok(torchrun.unwrap_or_default());
        }
        let (launcher, other) = match MPIRUN.tells(&variable)? {
            Some(process) => (MPIRUN, Some(process)),
            None => (SRUN, SRUN.tells(&variable)?),
        };
        match (torchrun, other) {
            (Some(ours), Some(theirs)) if (ours.rank, ours.world_size) != (theirs.rank, theirs.world_size) => {
                let Launcher { name, rank, world_size, .. } = launcher;
                Err(Error::new(
                    ErrorKind::Config,
                    format!(
                        "RANK and WORLD_SIZE say rank {} of {}, but {name} says rank {} of {} ({rank}, {world_size}): \
                         unset RANK and WORLD_SIZE, or set them to the same",
                        ours.rank, ours.world_size, theirs.rank, theirs.world_size
                    ),
                ))
            }
            (torchrun, other) => Ok(torchrun.or(other).unwrap_or_default()),
        }
    }

    /// Leaves out the last samples (or batches) of an epoch that would not go round, instead of padding it with the
    /// first ones (default: false). This is `DistributedSampler`'s `drop_last`, not the loader's.
    pub fn drop_last(self, drop_last: bool) -> Self {
        Distributed { drop_last, ..self }
    }

    /// The number of this process, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many processes there are.
    pub fn world_size(&self) -> usize {
        self.world_size
    }

    /// The number of this process on its machine, if the launcher said so: the GPU to use.
    pub fn local_rank(&self) -> Option<usize> {
        self.local_rank
    }

    pub(super) fn drops_last(&self) -> bool {
        self.drop_last
    }
}

/// The variables that a launcher sets.
struct Launcher {
    name: &'static str,
    rank: &'static str,
    world_size: &'static str,
    local_rank: &'static str,
}

const TORCHRUN: Launcher =
    Launcher { name: "torchrun", rank: "RANK", world_size: "WORLD_SIZE", local_rank: "LOCAL_RANK" };
const MPIRUN: Launcher = Launcher {
    name: "mpirun",
    rank: "OMPI_COMM_WORLD_RANK",
    world_size: "OMPI_COMM_WORLD_SIZE",
    local_rank: "OMPI_COMM_WORLD_LOCAL_RANK",
};
const SRUN: Launcher =
    Launcher { name: "srun", rank: "SLURM_PROCID", world_size: "SLURM_NTASKS", local_rank: "SLURM_LOCALID" };

impl Launcher {
    /// What it says, if it says anything.
    fn tells(&self, variable: &impl Fn(&str) -> Option<OsString>) -> Result<Option<Distributed>> {
        let number = |name| match variable(name) {
            None => Ok(None),
            Some(value) => match value.to_str().and_then(|text| text.trim().parse::<usize>().ok()) {
                Some(number) => Ok(Some(number)),
                None => Err(Error::new(ErrorKind::Config, format!("{name} is {value:?}, which is not a whole number"))),
            },
        };
        let half = |set, missing| {
            Err(Error::new(
                ErrorKind::Config,
                format!(
                    "{set} is set but {missing} is not: set both, or start the processes with {}, or unset {set} to \
                     run a single process",
                    self.name
                ),
            ))
        };
        match (number(self.rank)?, number(self.world_size)?) {
            (None, None) => Ok(None),
            (Some(_), None) => half(self.rank, self.world_size),
            (None, Some(_)) => half(self.world_size, self.rank),
            (Some(rank), Some(world_size)) if rank >= world_size => Err(Error::new(
                ErrorKind::Config,
                format!(
                    "{} is {rank} and {} is {world_size}: ranks go from 0 to the world size less one",
                    self.rank, self.world_size
                ),
            )),
            (Some(rank), Some(world_size)) => {
                let local_rank = number(self.local_rank)?;
                match local_rank {
                    Some(local) if local > rank => Err(Error::new(
                        ErrorKind::Config,
                        format!(
                            "{} is {local} and {} is {rank}: a process has at least as many before it in all as on \
                             its own machine",
                            self.local_rank, self.rank
                        ),
                    )),
                    _ => Ok(Some(Distributed { rank, world_size, local_rank, drop_last: false })),
                }
            }
        }
    }
}

/// One rank's share of each epoch, in torch's order (`torch.utils.data.DistributedSampler`).
///
/// The order of epoch e is drawn from a generator seeded with `seed + e`, and dealt out to the ranks in turn; the loader
/// says which epoch it is, so there is no `set_epoch` to forget. In a loader,
/// [`distributed`](crate::LoaderBuilder::distributed) is the shorter way to the same.
///
/// ```
/// use sutler::{Distributed, DistributedSampler, Sampler};
///
/// let rank_1 = DistributedSampler::new(Distributed::new(1, 4)?).shuffle(false);
/// assert_eq!(rank_1.order(0, 10)?.iter().collect::<Vec<_>>(), [1, 5, 9]);
/// # Ok::<(), sutler::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DistributedSampler {
    distributed: Distributed,
    shuffle: bool,
    seed: u64,
}

impl DistributedSampler {
    /// The share of a process, shuffled with seed 0, as in torch.
    pub fn new(distributed: Distributed) -> Self {
        DistributedSampler { distributed, shuffle: true, seed: 0 }
    }

    /// Whether the order is random (default: true).
    pub fn shuffle(self, shuffle: bool) -> Self {
        DistributedSampler { shuffle, ..self }
    }

    /// The seed of the order, the same on all ranks (default: 0).
    pub fn seed(self, seed: u64) -> Self {
        DistributedSampler { seed, ..self }
    }
}

impl Sampler for DistributedSampler {
    fn order(&self, epoch: u64, len: usize) -> Result<Order> {
        let order = match self.shuffle {
            false => Order::sequential(len),
            true => {
                let mut generator = Generator::manual_seed(self.seed.wrapping_add(epoch));
                match u32::try_from(len) {
                    Ok(_) => Order::narrow(generator.permutation_in(with_room(len)?, len)),
                    Err(_) => Order::from(generator.permutation_in(with_room(len)?, len)),
                }
            }
        };
        order.shard(&self.distributed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SampleRng;

    fn of(variables: &[(&str, &str)]) -> Result<Distributed> {
        let value = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
        Distributed::from_variables(value)
    }

    fn refused(variables: &[(&str, &str)]) -> String {
        of(variables).unwrap_err().to_string()
    }

    #[test]
    fn every_launcher_is_understood() {
        assert_eq!(of(&[]).unwrap(), Distributed::default());
        for [rank, world_size, local] in [
            ["RANK", "WORLD_SIZE", "LOCAL_RANK"],
            ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"],
            ["SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"],
        ] {
            let process = of(&[(rank, "5"), (world_size, " 8 "), (local, "1")]).unwrap();
            assert_eq!((process.rank(), process.world_size(), process.local_rank()), (5, 8, Some(1)));
            assert_eq!(of(&[(rank, "0"), (world_size, "1")]).unwrap(), Distributed::default());
        }
    }

    #[test]
    fn half_a_launcher_is_an_error_that_names_the_missing_half() {
        assert_eq!(
            refused(&[("RANK", "0")]),
            "RANK is set but WORLD_SIZE is not: set both, or start the processes with torchrun, or unset RANK to run a \
             single process"
        );
        assert!(refused(&[("SLURM_NTASKS", "4")]).starts_with("SLURM_NTASKS is set but SLURM_PROCID is not"));
    }

    #[test]
    fn impossible_values_are_errors_that_name_the_variables() {
        assert_eq!(
            refused(&[("RANK", "4"), ("WORLD_SIZE", "4")]),
            "RANK is 4 and WORLD_SIZE is 4: ranks go from 0 to the world size less one"
        );
        assert_eq!(refused(&[("RANK", "-1"), ("WORLD_SIZE", "4")]), "RANK is \"-1\", which is not a whole number");
        assert_eq!(refused(&[("RANK", ""), ("WORLD_SIZE", "4")]), "RANK is \"\", which is not a whole number");
        assert_eq!(
            refused(&[("RANK", "1"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "2")]),
            "LOCAL_RANK is 2 and RANK is 1: a process has at least as many before it in all as on its own machine"
        );
    }

    #[test]
    fn the_launcher_that_started_the_process_counts() {
        // A job's script has rank 0 of its own, and mpirun's processes inherit it.
        let slurm = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "2")];
        let mpirun = [&slurm[..], &[("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "2")]].concat();
        assert_eq!(of(&mpirun).unwrap(), Distributed::new(1, 2).unwrap());
        let torchrun = [("RANK", "5"), ("WORLD_SIZE", "8"), ("TORCHELASTIC_RUN_ID", "none")];
        let nested = [&mpirun[..], &torchrun[..]].concat();
        assert_eq!(of(&nested).unwrap(), Distributed::new(5, 8).unwrap());
        // Started in the shell of an allocation, which knows a number of tasks but is none of them.
        let interactive = [&[("SLURM_NTASKS", "4")][..], &torchrun[..]].concat();
        assert_eq!(of(&interactive).unwrap(), Distributed::new(5, 8).unwrap());
    }

    #[test]
    fn whatever_is_in_the_environment_a_rank_is_what_one_launcher_says_or_an_error_that_names_a_variable() {
        const VALUES: [&str; 14] = [
            "0",
            "1",
            "2",
            " 3 ",
            "+1",
            "-1",
            "",
            "1.0",
            "0x1",
            "18446744073709551615",
            "18446744073709551616",
            "two",
            "1 2",
            "\u{661}",
        ];
        let launchers =
            [TORCHRUN, MPIRUN, SRUN].map(|launcher| [launcher.rank, launcher.world_size, launcher.local_rank]);
        let mut outcomes = [0; 3];
        for case in 0..20_000 {
            let mut rng = SampleRng::new(0, 0, case);
            let mut set: Vec<(&str, &str)> = Vec::new();
            for name in launchers.into_iter().flatten().chain(["TORCHELASTIC_RUN_ID"]) {
                // Mostly numbers, or hardly any case would be without an error.
                let among = if rng.bernoulli(0.9) { 4 } else { VALUES.len() };
                let value = VALUES[rng.below(among as u32) as usize];
                if rng.bernoulli(0.4) {
                    set.push((name, value));
                }
            }
            let said = |name: &str| set.iter().find(|(n, _)| *n == name)?.1.trim().parse::<usize>().ok();
            match of(&set) {
                Ok(process) if process == Distributed::default() => outcomes[0] += 1,
                Ok(process) => {
                    let Distributed { rank, world_size, local_rank, .. } = process;
                    let says = |[r, w, l]: [&str; 3]| {
                        (said(r), said(w), said(l)) == (Some(rank), Some(world_size), local_rank)
                    };
                    assert!(rank < world_size && launchers.into_iter().any(says), "{process:?} of {set:?}");
                    outcomes[1] += 1;
                }
                Err(error) => {
                    let text = error.to_string();
                    assert_eq!(error.kind(), ErrorKind::Config);
                    assert!(set.iter().any(|(name, _)| text.contains(name)), "{text}: {set:?}");
                    outcomes[2] += 1;
                }
            }
        }
        assert!(outcomes.iter().all(|&count| count > 100), "{outcomes:?}");
    }

    #[test]
    fn ranks_set_by_hand_must_not_contradict_the_launcher() {
        let slurm = [("SLURM_PROCID", "1"), ("SLURM_NTASKS", "2")];
        let both = [&slurm[..], &[("RANK", "5"), ("WORLD_SIZE", "8")]].concat();
        assert_eq!(
            refused(&both),
            "RANK and WORLD_SIZE say rank 5 of 8, but srun says rank 1 of 2 (SLURM_PROCID, SLURM_NTASKS): unset RANK and \
             WORLD_SIZE, or set them to the same"
        );
        let agreeing = [&slurm[..], &[("RANK", "1"), ("WORLD_SIZE", "2")]].concat();
        assert_eq!(of(&agreeing).unwrap(), Distributed::new(1, 2).unwrap());
    }
}
