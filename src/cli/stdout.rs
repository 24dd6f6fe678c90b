//! The one writer of standard output.

use std::io::{self, ErrorKind, IsTerminal as _, Write};

use crate::model::text::tame;

/// Maximum characters of a line with text from outside; the rest is cut.
pub(super) const MAX_LINE_CHARS: usize = 2000;

/// Writes results. When the reader has gone (`countersign tools list | head`), it writes nothing
/// more and reports no error: the command's exit code stands.
pub(super) struct Stdout<W> {
    to: W,
    is_terminal: bool,
    gone: bool,
}

impl Stdout<io::StdoutLock<'static>> {
    pub(super) fn lock() -> Self {
        let to = io::stdout().lock();
        Self { is_terminal: to.is_terminal(), to, gone: false }
    }
}

impl<W: Write> Stdout<W> {
    /// Writes one or more lines. Text from an API or a file may steer a terminal, so a terminal
    /// gets it without control characters; a program gets it unchanged.
    ///
    /// # Errors
    /// If standard output cannot be written, except because its reader has gone.
    pub(super) fn line(&mut self, line: &str) -> io::Result<()> {
        if self.is_terminal { self.drawing(&tame(line)) } else { self.drawing(line) }
    }

    /// Returns a writer without a flush for each line, for output that is useful only as a whole:
    /// here a reader that has gone is an error. Callers may write to a terminal only text that
    /// cannot steer it.
    pub(super) fn stream(&mut self) -> Stream<'_, W> {
        Stream(self)
    }

    /// Writes our own text for a terminal, colours included.
    ///
    /// # Errors
    /// Like [`Self::line`].
    pub(super) fn drawing(&mut self, line: &str) -> io::Result<()> {
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

/// See [`Stdout::stream`].
pub(super) struct Stream<'o, W>(&'o mut Stdout<W>);

impl<W: Write> Write for Stream<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.to.flush()
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
        let mut out = Stdout { to: Gone, is_terminal: false, gone: false };
        assert!(out.line("a").is_ok());
        assert!(out.gone);
        assert!(out.line("b").is_ok());
    }

    #[test]
    fn a_stream_without_its_reader_is_cut_off() {
        let mut out = Stdout { to: Gone, is_terminal: false, gone: false };
        let written = out.stream().write_all(b"a");
        assert_eq!(written.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_terminal_is_not_steered_and_a_program_gets_everything() {
        let steering = "{\"a\":\n\"\u{9b}2J\u{1b}]0;x\u{7}\"}";
        for (is_terminal, expected) in
            [(true, "{\"a\":\n\"2J]0;x\"}\n".to_owned()), (false, format!("{steering}\n"))]
        {
            let mut out = Stdout { to: Vec::new(), is_terminal, gone: false };
            out.line(steering).unwrap();
            assert_eq!(String::from_utf8(out.to).unwrap(), expected);
        }
    }
}
