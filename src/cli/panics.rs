//! The panic hook.

use std::panic::{set_hook, take_hook};

use crate::index::directory::is_contained;

/// Keeps the panics that [`crate::index`] turns into errors off the terminal. The default hook
/// prints a message before they can be caught. Set here because the hook is global to the process,
/// so a library must not replace it.
pub fn silence_contained_panics() {
    let print = take_hook();
    set_hook(Box::new(move |panic| {
        if !is_contained() {
            print(panic);
        }
    }));
}
