//! What is said of the models before anything is asked.

use super::setup::Setup;
use crate::generation::local::placement::DeviceChoice;
use crate::profile::Models;

/// Says if nothing is refused with this embedder.
pub fn tell_if_uncalibrated(setup: &Setup, models: &Models) {
    if models.relevance.is_none() {
        let lang = setup.terminal.lang;
        setup.terminal.say(&lang.relevance_not_calibrated(&setup.profile.embedder.name));
    }
}

/// Says which LLM will answer and where it runs, before it is loaded. `is_asked` is false if nothing will
/// be sent to a server.
pub fn announce(setup: &Setup, models: &Models, is_asked: bool) {
    let terminal = setup.terminal;
    if let Some(pool) = models.llm.remote() {
        if setup.global.extractive || !is_asked {
            return;
        }
        terminal.say(&terminal.lang.llm_remote(&models.llm.name, &pool.place()));
        for host in pool.readable_by_others() {
            terminal.warn(&terminal.lang.sent_in_the_clear(host));
        }
        for proxied in pool.proxied() {
            let line = terminal.lang.through_proxy(&proxied);
            if proxied.is_readable {
                terminal.warn(&line);
            } else {
                terminal.say(&format!("   {line}"));
            }
        }
        return;
    }
    terminal.say(&terminal.lang.llm(&models.llm.name, &models.llm_device.to_string()));
    if models.llm_device == DeviceChoice::Cpu && setup.global.device.is_none() {
        terminal.say(&terminal.lang.llm_on_cpu_by_profile(&setup.profile.name));
    }
}
