//! How long to wait before the next try.

use std::time::Duration;

use slipway_process::random_id;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);

/// Waits that double, each cut by chance so that many who wait do not come back at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    /// Waits of at most `most`.
    pub(crate) fn new(most: Duration) -> Self {
        Self { next: FIRST.min(most), most }
    }

    /// Begins again with short waits.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST.min(self.most);
    }

    /// Waits.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.step(chance())).await;
    }

    /// The next wait: between half of it and all of it, as `chance` (0 to 255) has it.
    fn step(&mut self, chance: u8) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.most);
        whole / 2 + whole / 512 * u32::from(chance)
    }
}

fn chance() -> u8 {
    u8::from_str_radix(&random_id()[..2], 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(350));
        let waits: Vec<u128> = [0, 0, 0, 0].map(|chance| backoff.step(chance).as_millis()).to_vec();
        assert_eq!(waits, [50, 100, 175, 175]);
        backoff.reset();
        assert!(backoff.step(255) < Duration::from_millis(100));
    }
}
