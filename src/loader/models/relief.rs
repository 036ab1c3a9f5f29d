//! Several batches that one worker makes: it can be relieved of them at any point.

use super::*;
use crate::sync::explore;

const BATCHES: usize = 3;

type Numbered = Arc<Line<Numbers, Stack>>;

/// A line of which a worker has the batches in hand.
fn in_hand(fate: fn(usize) -> Fate) -> (Numbered, Batches<Stack>) {
    let (line, finished) = line(Stack, Numbers::new(1, fate), OnError::Fail, BATCHES);
    let making = Arc::clone(&line);
    line.spawn(move || making.make_batches(0, (0..BATCHES).collect()));
    (line, finished)
}

#[test]
fn whenever_a_worker_is_relieved_each_batch_is_made_and_comes_once() {
    explore(3, || {
        let (line, finished) = in_hand(|_| Fate::Good);
        line.help_out();
        let received = receive(&finished, BATCHES);
        for (number, batch) in received {
            assert_eq!(batch.unwrap(), [10 * number as u32]);
        }
        end(line, Some(finished));
    });
}

#[test]
fn a_bad_batch_costs_no_other_whoever_makes_it() {
    explore(3, || {
        let (line, finished) = in_hand(|index| if index == 10 { Fate::Panics } else { Fate::Good });
        line.help_out();
        let received = receive(&finished, BATCHES);
        assert_eq!(received[&1].as_ref().unwrap_err().index(), Some(10));
        assert!(received[&0].is_ok() && received[&2].is_ok());
        end(line, Some(finished));
    });
}

#[test]
fn two_that_relieve_a_worker_at_once_do_not_both_take_a_batch() {
    explore(3, || {
        let (line, finished) = in_hand(|_| Fate::Good);
        let helping = Arc::clone(&line);
        line.spawn(move || helping.help_out());
        line.help_out();
        assert!(receive(&finished, BATCHES).values().all(Result::is_ok));
        end(line, Some(finished));
    });
}

#[test]
fn a_lot_of_a_cancelled_line_comes_once_or_not_at_all() {
    explore(3, || {
        let (line, finished) = in_hand(|_| Fate::Good);
        line.help_out();
        line.cancelled.store(true, Relaxed);
        let shared = Arc::clone(&line.shared);
        drop(line);
        join_workers();
        let mut received = BTreeMap::new();
        finished.try_iter().for_each(|finished| put(&mut received, finished));
        // What was begun when it was cancelled is an error that nobody looks at.
        assert!(
            received.iter().all(|(&number, batch)| batch.as_ref().is_ok_and(|batch| *batch == [10 * number as u32])
                || batch.as_ref().is_err_and(|error| error.to_string().contains("given up")))
        );
        drop(received);
        all_are_back(&shared.buffers);
    });
}
