//! A run that goes on knows what was bad.

use sutler::{ErrorKind, LoaderState, OnError};

use super::{SEVENTH, epoch, shuffled};

#[test]
fn a_run_stopped_anywhere_goes_on_with_the_same_batches_and_ends_with_the_same_quarantine() {
    for on_error in [OnError::Skip, OnError::Substitute] {
        for num_workers in [0, 3] {
            let build = || shuffled(SEVENTH, on_error).num_workers(num_workers).build().unwrap();
            let whole = build();
            let batches = epoch(&whole);
            for stop in 0..=batches.len() {
                let before = build();
                let mut running = before.epoch();
                running.by_ref().take(stop).for_each(|batch| drop(batch.unwrap()));
                let state = running.state();
                // What is only loaded ahead is in nobody's list.
                let met: Vec<_> = whole.quarantine().iter().take(state.quarantine().len()).cloned().collect();
                assert_eq!(state.quarantine().to_vec(), met);
                let text = state.to_string();
                let parsed: LoaderState = text.parse().unwrap();
                assert_eq!(parsed, state, "{text}");

                let after = build();
                let rest: Vec<Vec<i64>> = after.resume(&parsed).unwrap().map(|batch| batch.unwrap().to_vec()).collect();
                assert_eq!(rest, batches[stop..].iter().map(|(values, _)| values.clone()).collect::<Vec<_>>());
                assert_eq!(after.quarantine(), whole.quarantine());
                assert_eq!(after.stats().bad_samples, whole.stats().bad_samples);
            }
        }
    }
}

#[test]
fn the_budget_of_a_resumed_run_is_what_was_left_of_it() {
    let build = || shuffled(SEVENTH, OnError::Skip).max_bad_samples(10).num_workers(2).build().unwrap();
    let first = build();
    let mut running = first.epoch();
    while running.next().unwrap().is_ok() {}
    let state = running.state();
    assert_eq!(state.quarantine().len(), first.quarantine().len());
    assert!(state.quarantine().len() > 10);
    let second = build();
    let rest: Vec<bool> = second.resume(&state).unwrap().map(|batch| batch.is_ok()).collect();
    let expected: Vec<bool> = running.map(|batch| batch.is_ok()).collect();
    assert_eq!(rest, expected);
    // And so in the next epoch.
    let [first, second] =
        [first, second].map(|loader| loader.epoch_at(7).map(|batch| batch.is_ok()).collect::<Vec<_>>());
    assert!(first == second && first.contains(&false) && first.contains(&true));
}

#[test]
fn a_damaged_list_is_no_state() {
    let loader = shuffled(SEVENTH, OnError::Skip).build().unwrap();
    loader.epoch().for_each(drop);
    let text = loader.state().unwrap().to_string();
    let start = text.find("bad=").unwrap();
    for damaged in [text.replacen("bad=", "bad=x", 1), format!("{}:{}", &text[..start + 4], &text[start + 4..])] {
        let error = damaged.parse::<LoaderState>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State);
        assert!(error.to_string().contains("(bad is missing or wrong)"), "{error}");
    }
}
