//! A terminal.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sutler::telemetry::{Progress, Shutdown, Telemetry};

use crate::{PATIENCE, eventually, prompt};

#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Screen {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[test]
fn the_latest_of_each_number_is_in_a_line_and_alerts_have_their_own() {
    for (is_terminal, expected) in [
        (false, "step 1: stop\nstep 2  loss 0.1235  images/s 1235  lr 1.000e-4\n"),
        (true, "\r\x1b[Kstep 1: stop\n\r\x1b[K\x1b[?7lstep 2  loss 0.1235  images/s 1235  lr 1.000e-4\x1b[?7h\n"),
    ] {
        let screen = Screen::default();
        let sink = Progress::to(screen.clone(), is_terminal);
        let telemetry = Telemetry::builder().sink(sink).flush_interval(PATIENCE).start().unwrap();
        telemetry.log(0, [("loss", 0.5), ("images/s", 1234.5678), ("lr", 1e-4)]);
        telemetry.alert(1, "stop".to_owned());
        telemetry.log(2, [("loss", 0.123_456)]);
        assert!(telemetry.shutdown(Shutdown::Drain(PATIENCE)).is_complete());
        assert_eq!(screen.text(), expected);
    }
}

#[test]
fn no_line_comes_before_its_time_and_the_last_comes_at_the_end() {
    let screen = Screen::default();
    let sink = Progress::to(screen.clone(), false).every(Duration::from_secs(3600));
    let telemetry = prompt().sink(sink).start().unwrap();
    for step in 0..10 {
        telemetry.log(step, [("loss", 0.5)]);
        assert!(eventually(|| telemetry.report().is_complete()));
    }
    assert_eq!(screen.text(), "step 0  loss 0.5\n");
    drop(telemetry);
    assert_eq!(screen.text(), "step 0  loss 0.5\nstep 9  loss 0.5\n");
}
