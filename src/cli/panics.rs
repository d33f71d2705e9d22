//! Which panics are printed.

use std::panic::{set_hook, take_hook};

use crate::index::directory::is_contained;

/// Keeps the panics that [`crate::index`] turns into errors off the terminal. The process's panic
/// hook prints a message before anything can catch the panic, and only the program may change it.
pub fn silence_contained_panics() {
    let print = take_hook();
    set_hook(Box::new(move |panic| {
        if !is_contained() {
            print(panic);
        }
    }));
}
