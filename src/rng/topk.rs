//! `largest`: the k largest of many keys, in the order in which torch's `topk` gives them.
//!
//! Keys that are equal have no order of their own, so theirs is whatever the algorithm leaves. torch uses
//! `std::partial_sort`, or `std::nth_element` and `std::sort` (`aten/src/ATen/native/TopKImpl.h`, called by
//! `cpu/SortingKernel.cpp`; torch 2.11), and its builds for Linux have those of libstdc++ (`bits/stl_algo.h` and
//! `bits/stl_heap.h`). What follows moves elements as they do, step by step; where no keys are equal, a faster way leads
//! to the same order.

use std::cmp::Ordering;

/// Up to this length, libstdc++ leaves sorting to insertion.
const SHORT: usize = 16;

/// A key, and its place among the keys.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    key: f64,
    index: usize,
}

/// The places of the `k` largest keys, as `torch.topk(keys, k).indices`; for a `k` of 1 as `torch.argmax`, which gives the
/// first of several. NaN counts as largest.
///
/// # Panics
///
/// If `k` is 0, or above the number of keys and 1.
pub(super) fn largest(keys: impl Iterator<Item = f64>, k: usize) -> Vec<usize> {
    let entries = keys.enumerate().map(|(index, key)| Entry { key, index });
    if k == 1 {
        return entries.min_by(order).map(|entry| entry.index).into_iter().collect();
    }
    let mut entries: Vec<Entry> = entries.collect();
    if !select_distinct(&mut entries, k) {
        entries.sort_unstable_by_key(|entry| entry.index);
        select(&mut entries, k);
    }
    entries[..k].iter().map(|entry| entry.index).collect()
}

/// The larger key comes first, and NaN before all.
fn order(a: &Entry, b: &Entry) -> Ordering {
    match (comes_first(a, b), comes_first(b, a)) {
        (true, _) => Ordering::Less,
        (_, true) => Ordering::Greater,
        _ => Ordering::Equal,
    }
}

#[inline]
fn comes_first(a: &Entry, b: &Entry) -> bool {
    (a.key.is_nan() && !b.key.is_nan()) || a.key > b.key
}

/// Brings the `k` largest to the front, in order; says whether that order is the only one. If not, it is of no use.
fn select_distinct(entries: &mut [Entry], k: usize) -> bool {
    let (_, last, rest) = entries.select_nth_unstable_by(k - 1, order);
    if rest.iter().any(|entry| order(entry, last).is_eq()) {
        return false;
    }
    entries[..k].sort_unstable_by(order);
    entries[..k].windows(2).all(|pair| comes_first(&pair[0], &pair[1]))
}

/// Brings the `k` largest to the front, in order, as torch does.
fn select(entries: &mut [Entry], k: usize) {
    // torch's own rule for which of the two is faster.
    if k * 64 <= entries.len() {
        partial_sort(entries, k);
    } else {
        nth_element(entries, k - 1);
        sort(&mut entries[..k - 1], most_partitions(k - 1));
    }
}

/// `std::partial_sort`.
fn partial_sort(entries: &mut [Entry], k: usize) {
    heap_select(entries, k);
    for len in (2..=k).rev() {
        let (heap, last) = entries[..len].split_at_mut(len - 1);
        replace_top(heap, &mut last[0]);
    }
}

/// Makes a heap of the `k` that come first, with the last of them on top (`std::__heap_select`).
fn heap_select(entries: &mut [Entry], k: usize) {
    let (heap, rest) = entries.split_at_mut(k);
    for parent in (0..k / 2).rev() {
        sift(heap, parent, heap[parent]);
    }
    for entry in rest {
        if comes_first(entry, &heap[0]) {
            replace_top(heap, entry);
        }
    }
}

/// Takes the top off the heap and puts `entry` into it (`std::__pop_heap`).
fn replace_top(heap: &mut [Entry], entry: &mut Entry) {
    let value = std::mem::replace(entry, heap[0]);
    sift(heap, 0, value);
}

/// Fills the hole at `top` with `value`: moves the hole down to a leaf, along the later children, and from there up to
/// where the value belongs (`std::__adjust_heap`).
fn sift(heap: &mut [Entry], top: usize, value: Entry) {
    let mut hole = top;
    while 2 * hole + 1 < heap.len() {
        let (left, right) = (2 * hole + 1, 2 * hole + 2);
        let child = if right < heap.len() && !comes_first(&heap[right], &heap[left]) { right } else { left };
        heap[hole] = heap[child];
        hole = child;
    }
    while hole > top && comes_first(&heap[(hole - 1) / 2], &value) {
        heap[hole] = heap[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    heap[hole] = value;
}

/// `std::nth_element`.
fn nth_element(mut entries: &mut [Entry], mut nth: usize) {
    for _ in 0..most_partitions(entries.len()) {
        if entries.len() <= 3 {
            break;
        }
        let cut = partition(entries);
        if cut <= nth {
            entries = &mut entries[cut..];
            nth -= cut;
        } else {
            entries = &mut entries[..cut];
        }
    }
    if entries.len() > 3 {
        heap_select(entries, nth + 1);
        entries.swap(0, nth);
    } else {
        // Stable, as the insertion sort there is.
        entries.sort_by(order);
    }
}

/// `std::sort`: its `__introsort_loop`, and what the insertion sort after that does to the short pieces. No entry leaves
/// its piece then, as none comes before one of an earlier piece, and so a stable sort of the piece does the same.
fn sort(mut entries: &mut [Entry], mut partitions_left: usize) {
    while entries.len() > SHORT {
        if partitions_left == 0 {
            return partial_sort(entries, entries.len());
        }
        partitions_left -= 1;
        let cut = partition(entries);
        let (front, back) = entries.split_at_mut(cut);
        sort(back, partitions_left);
        entries = front;
    }
    entries.sort_by(order);
}

/// Beyond as many, keys are such that partitions are of no help, and a heap takes over: twice the logarithm.
fn most_partitions(len: usize) -> usize {
    2 * len.checked_ilog2().unwrap_or(0) as usize
}

/// Partitions around the median of three entries, which it first brings to the front; says where the second part begins.
/// An entry equal to the pivot may be in either part (`std::__unguarded_partition_pivot`).
fn partition(entries: &mut [Entry]) -> usize {
    let median = median_of_three(entries, [1, entries.len() / 2, entries.len() - 1]);
    entries.swap(0, median);
    let pivot = entries[0];
    let (mut left, mut right) = (1, entries.len());
    loop {
        // Neither runs off: of the three, one is not before the pivot and one is not after it.
        while comes_first(&entries[left], &pivot) {
            left += 1;
        }
        right -= 1;
        while comes_first(&pivot, &entries[right]) {
            right -= 1;
        }
        if left >= right {
            return left;
        }
        entries.swap(left, right);
        left += 1;
    }
}

/// Which of three places has the entry between the others (`std::__move_median_to_first`).
fn median_of_three(entries: &[Entry], [a, b, c]: [usize; 3]) -> usize {
    let before = |a: usize, b: usize| comes_first(&entries[a], &entries[b]);
    let (first, last) = if before(a, b) { (a, b) } else { (b, a) };
    if before(last, c) {
        last
    } else if before(first, c) {
        c
    } else {
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SampleRng;

    fn entries(keys: &[f64]) -> Vec<Entry> {
        keys.iter().enumerate().map(|(index, &key)| Entry { key, index }).collect()
    }

    fn largest_of(keys: &[f64], k: usize) -> Vec<usize> {
        largest(keys.iter().copied(), k)
    }

    /// Tells lists of places apart.
    fn print(places: &[usize]) -> u64 {
        places.iter().fold(0, |print: u64, &place| print.wrapping_mul(1_099_511_628_211).wrapping_add(place as u64 + 1))
    }

    #[test]
    fn equal_keys_come_in_the_order_in_which_torch_gives_them() {
        // print(torch.topk(keys, k).indices), of torch 2.11.
        for (n, modulus, k, expected) in [
            (17, 2, 2, 0x0a00_0000_1106),
            (17, 2, 9, 0x011f_9920_e0bf_8a99),
            (17, 2, 17, 0xaf93_4cbd_bdb2_3f59),
            (100, 7, 3, 0x00fe_fb00_00d8_b798),
            (100, 7, 50, 0x0ee8_801b_25bf_723a),
            (100, 7, 100, 0x93e2_6ad4_0372_3da8),
            (640, 3, 10, 0x7e4c_1e86_c291_9561),
            (640, 3, 11, 0x26b9_a253_5919_88fd),
            (640, 3, 640, 0xb2d4_656f_a3ff_9c52),
            (3000, 10, 2, 0x0800_0000_0d9c),
            (3000, 10, 46, 0xe2c4_e4b0_f974_2d24),
            (3000, 10, 47, 0xe921_9c5c_186c_27cc),
            (3000, 10, 1500, 0x7b74_a57e_379e_0cfc),
            (3000, 10, 3000, 0x8ef6_2401_b5c2_206c),
        ] {
            let keys: Vec<f64> = (0..n).map(|i| f64::from(i * i * 31 % modulus)).collect();
            assert_eq!(print(&largest_of(&keys, k)), expected, "{k} of {n}");
        }
        // These defeat the choice of pivots: a heap takes over, in nth_element for 250, in sort for 500 and 1000.
        for (k, expected) in [
            (15, 0xe7d9_1e58_136a_8988),
            (16, 0x2344_72b0_208b_a1f2),
            (250, 0x11e0_4398_5702_195b),
            (500, 0x2932_6d4c_bac3_7edc),
            (1000, 0xc72c_a65a_2378_aa94),
        ] {
            let keys: Vec<f64> = (0..1000).map(|i: i32| f64::from(i.min(999 - i) / 2)).collect();
            assert_eq!(print(&largest_of(&keys, k)), expected, "{k} of 1000");
        }
    }

    #[test]
    fn nan_comes_before_infinity_and_zeros_of_both_signs_are_equal() {
        // torch 2.11, again.
        let keys = [0.0, 1.0, f64::NAN, f64::INFINITY, -0.0, -f64::NAN, f64::INFINITY, 0.5];
        assert_eq!(largest_of(&keys, 1), [2]);
        assert_eq!(largest_of(&keys, 4), [5, 2, 3, 6]);
        assert_eq!(largest_of(&keys, 6), [5, 2, 3, 6, 1, 7]);
        assert_eq!(largest_of(&keys, 8), [2, 5, 3, 6, 1, 7, 4, 0]);
    }

    #[test]
    fn the_largest_alone_is_the_first_of_its_equals() {
        assert_eq!(largest_of(&[1.0, 3.0, 3.0], 1), [1]);
        assert_eq!(largest_of(&[0.0; 9], 1), [0]);
    }

    #[test]
    fn distinct_keys_have_one_order_whichever_way_it_is_found() {
        let mut rng = SampleRng::new(0, 0, 0);
        for n in [1, 2, 3, 4, 5, 16, 17, 18, 33, 64, 127, 128, 129, 1000, 1280, 5000] {
            let orders = [
                (0..n).map(|_| rng.uniform()).collect::<Vec<_>>(),
                (0..n).map(f64::from).collect(),
                (0..n).rev().map(f64::from).collect(),
                (0..n).map(|i| f64::from(i.min(n - 1 - i)) + f64::from(i) * 1e-6).collect(),
            ];
            for keys in &orders {
                let mut sorted = entries(keys);
                sorted.sort_by(order);
                for k in [1, 2, 3, n / 64, n / 64 + 1, n / 10, n / 2, n - 1, n].map(|k| k as usize) {
                    if !(1..=keys.len()).contains(&k) {
                        continue;
                    }
                    let (mut fast, mut exact) = (entries(keys), entries(keys));
                    assert!(select_distinct(&mut fast, k), "{k} of {n}");
                    select(&mut exact, k);
                    assert_eq!((&fast[..k], &exact[..k]), (&sorted[..k], &sorted[..k]), "{k} of {n}");
                }
            }
        }
    }

    #[test]
    fn keys_are_only_distinct_if_those_left_out_are_not_equal_to_the_last() {
        let keys = [3.0, 1.0, 2.0, 2.0, 0.0, 0.0];
        let distinct: Vec<bool> = (1..=6).map(|k| select_distinct(&mut entries(&keys), k)).collect();
        assert_eq!(distinct, [true, false, false, false, false, false]);
        assert!(select_distinct(&mut entries(&[3.0, 1.0, 2.0, 0.0, 0.0]), 3));
    }
}
