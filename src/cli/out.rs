//! The one writer of standard output.

use std::io::{self, ErrorKind, Write};

/// Writes results. When the reader has gone (`countersign tools list | head`), nothing more is
/// written and nobody is told: the command's exit code stands.
pub(super) struct Out<W> {
    to: W,
    gone: bool,
}

impl Out<io::StdoutLock<'static>> {
    pub(super) fn stdout() -> Self {
        Self { to: io::stdout().lock(), gone: false }
    }
}

impl<W: Write> Out<W> {
    /// Writes a line, or several.
    ///
    /// # Errors
    /// Whatever writing to standard output fails with, except that its reader has gone.
    pub(super) fn line(&mut self, line: &str) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        match writeln!(self.to, "{line}").and_then(|()| self.to.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(())
            }
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        let mut out = Out { to: Gone, gone: false };
        assert!(out.line("a").is_ok());
        assert!(out.gone);
        assert!(out.line("b").is_ok());
    }
}
