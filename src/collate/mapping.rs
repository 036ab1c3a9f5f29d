//! `Mapping`: what a batch of maps needs of a sample, of whichever kind of map.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

/// A map that is a sample.
pub(super) trait Mapping<K, V> {
    fn sorted_keys(&self) -> Vec<&K>;
    /// Whether its keys are these, which are sorted.
    fn has_exactly(&self, keys: &[K]) -> bool;
    /// The values of these keys, which are all it has, in their order.
    fn values_by(self, keys: &[K]) -> impl Iterator<Item = V>;
}

impl<K: Ord, V> Mapping<K, V> for BTreeMap<K, V> {
    fn sorted_keys(&self) -> Vec<&K> {
        self.keys().collect()
    }

    fn has_exactly(&self, keys: &[K]) -> bool {
        self.keys().eq(keys)
    }

    fn values_by(self, _: &[K]) -> impl Iterator<Item = V> {
        self.into_values()
    }
}

impl<K: Hash + Ord, V, H: BuildHasher> Mapping<K, V> for HashMap<K, V, H> {
    fn sorted_keys(&self) -> Vec<&K> {
        let mut keys: Vec<&K> = self.keys().collect();
        keys.sort_unstable();
        keys
    }

    fn has_exactly(&self, keys: &[K]) -> bool {
        self.len() == keys.len() && keys.iter().all(|key| self.contains_key(key))
    }

    fn values_by(mut self, keys: &[K]) -> impl Iterator<Item = V> {
        keys.iter().map(move |key| self.remove(key).expect("a key that was there is there"))
    }
}
