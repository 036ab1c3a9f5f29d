//! The orders are torch's: every row of `fixtures/golden`, which torch 2.11 drew.

use serde_json::{Value, json};
use sutler::{Generator, InMemory, Loader};

#[path = "../examples/golden/check.rs"]
mod check;

use check::{KINDS, Row, check_of};

fn rows() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/golden/torch-2.11-orders.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    file["rows"].as_array().unwrap().clone()
}

fn kind(row: &Value) -> &str {
    row["kind"].as_str().unwrap()
}

fn check(row: &Value) -> Result<(), String> {
    check_of(kind(row)).unwrap_or_else(|| panic!("a kind that nothing checks: {}", kind(row)))(&Row(row))
}

/// Up to four rows of each kind, of different lengths, that have something in their result. Short, except for the tails.
fn some_rows() -> Vec<Value> {
    let (mut chosen, all) = (Vec::new(), rows());
    for (name, _) in KINDS {
        let of_kind: Vec<&Value> =
            all.iter().filter(|row| kind(row) == name && changed(row["result"].clone()).is_some()).collect();
        let step = of_kind.len().div_ceil(4);
        chosen.extend(of_kind.into_iter().step_by(step).cloned());
    }
    chosen
}

/// A result with one element altered: the last one.
fn changed(mut value: Value) -> Option<Value> {
    match &mut value {
        Value::Array(elements) => {
            let (at, element) =
                elements.iter().enumerate().rev().find_map(|(at, e)| Some((at, changed(e.clone())?)))?;
            elements[at] = element;
        }
        Value::String(base64) => {
            let last = base64.trim_end_matches('=').len() - 2;
            let other = if base64.as_bytes()[last] == b'A' { "B" } else { "A" };
            base64.replace_range(last..=last, other);
        }
        Value::Number(number) if number.is_f64() => value = json!(value.as_f64()? / 2.0),
        Value::Number(number) => value = json!(number.as_i64()? ^ 1),
        _ => return None,
    }
    Some(value)
}

#[test]
fn every_row_is_what_torch_drew() {
    let mut counts: Vec<(String, usize)> = Vec::new();
    let mut misses = Vec::new();
    for row in rows() {
        match counts.iter_mut().find(|(name, _)| name == kind(&row)) {
            Some((_, count)) => *count += 1,
            None => counts.push((kind(&row).into(), 1)),
        }
        if let Err(why) = check(&row) {
            misses.push(format!("{} {}: {why}", kind(&row), Row(&row).arguments()));
        }
    }
    assert!(misses.is_empty(), "{} misses:\n{}", misses.len(), misses.join("\n"));
    let counts: Vec<(&str, usize)> = counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    let expected = [
        ("generator_int64", 13),
        ("generator_uniform_f64", 13),
        ("generator_state", 15),
        ("randperm", 75),
        ("randperm_tail", 12),
        ("random_sampler", 93),
        ("weighted_random_sampler", 69),
        ("multinomial", 82),
        ("subset_random_sampler", 14),
        ("batch_sampler", 23),
        ("random_split_lengths", 20),
        ("random_split_fractions", 26),
        ("distributed_sampler", 166),
        ("data_loader_epochs", 67),
    ];
    assert_eq!(counts, expected);
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<usize>(), 688);
    assert!(KINDS.iter().map(|(name, _)| *name).eq(expected.iter().map(|(name, _)| *name)));
}

#[test]
fn a_row_with_one_element_changed_is_a_miss() {
    for row in some_rows() {
        for name in ["result", "next_int64"].into_iter().filter(|name| !row[*name].is_null()) {
            let mut other = row.clone();
            other[name] = changed(row[name].clone()).unwrap();
            let missed = check(&other);
            assert!(missed.is_err(), "{name} changed: {} {}", kind(&row), Row(&row).arguments());
        }
    }
}

#[test]
fn a_row_with_an_argument_missing_or_of_another_type_is_a_miss_that_names_it() {
    for row in some_rows() {
        for name in row.as_object().unwrap().keys().filter(|name| *name != "kind") {
            let mut other = row.clone();
            other.as_object_mut().unwrap().remove(name);
            assert_eq!(check(&other), Err(format!("{name} is missing")), "{}", kind(&row));
            other[name] = json!({});
            let why = check(&other).unwrap_err();
            assert!(why.starts_with(&format!("{name} is {{}}, not ")) || name == "result", "{}: {why}", kind(&row));
        }
    }
}

#[test]
fn a_way_to_draw_that_is_not_known_is_a_miss() {
    for row in some_rows().into_iter().filter(|row| row.get("how").is_some()) {
        for how in ["by lot".into(), format!("{} and tides", row["how"].as_str().unwrap())] {
            let mut other = row.clone();
            other["how"] = json!(how);
            assert_eq!(check(&other), Err(format!("how is {how:?}, which this program does not know")));
        }
    }
}

#[test]
fn a_miss_says_where_the_orders_part() {
    let row = json!({"kind": "randperm", "seed": 0, "n": 10, "result": [4, 1, 7, 3, 5, 9, 0, 8, 6, 2]});
    assert_eq!(
        check(&row).unwrap_err(),
        "result from [3] on: expected 3, 5, 9, 0, 8, … 2 more, got 5, 3, 9, 0, 8, … 2 more"
    );
    let row = json!({"kind": "batch_sampler", "seed": 0, "n": 4, "batch_size": 3, "drop_last": false, "result": []});
    assert_eq!(check(&row).unwrap_err(), "result from [0] on: expected no more, got [0, 1, 3], [2]");
}

#[test]
fn an_explicit_generator_and_its_seed_give_the_same_order() {
    let batches = |loader: Loader<InMemory<i64>>| -> Vec<i64> {
        (0..3).flat_map(|_| loader.epoch()).flat_map(|batch| batch.unwrap().to_vec()).collect()
    };
    let builder = || Loader::builder((0..50).collect::<InMemory<i64>>()).batch_size(8).shuffle(true);
    let seeded = builder().seed(9).build().unwrap();
    let generated = builder().generator(Generator::manual_seed(9)).build().unwrap();
    assert_eq!(batches(seeded), batches(generated));
}
