//! Samples, and the figures computed from them.

use std::time::Duration;

#[derive(Default)]
pub struct Figures(Vec<f64>);

impl Figures {
    /// Adds a time, stored in seconds.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64());
    }

    pub fn add_number(&mut self, number: f64) {
        self.0.push(number);
    }

    pub fn join(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// Returns the value that `percent` percent of the samples do not exceed.
    pub fn at(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted[rank - 1]
    }
}

/// Seconds as milliseconds.
pub fn millis(seconds: f64) -> String {
    format!("{:.3}", seconds * 1000.0)
}

/// KiB as MiB.
pub fn mib(kib: f64) -> String {
    format!("{:.1}", kib / 1024.0)
}

pub fn number(count: usize) -> f64 {
    u32::try_from(count).map(f64::from).expect("a small number")
}
