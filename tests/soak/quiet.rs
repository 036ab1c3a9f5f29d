//! Panics that are wanted are not printed.

use std::panic::{PanicHookInfo, set_hook, take_hook};

pub fn hide_injected_panics() {
    let print = take_hook();
    set_hook(Box::new(move |panic| {
        if !is_injected(panic) {
            print(panic);
        }
    }));
}

fn is_injected(panic: &PanicHookInfo<'_>) -> bool {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    text.is_some_and(|text| text.starts_with("injected by chaos"))
}
