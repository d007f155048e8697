//! Running a part of a measurement in a process of its own: the same program, told so by its
//! first argument.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::Fallible;

/// A child process that says one line when it is where it should be. It is killed, with SIGKILL,
/// when this is dropped.
#[derive(Debug)]
pub struct Helper {
    child: Child,
}

impl Helper {
    /// Starts this program again with these arguments, and waits for the line.
    ///
    /// # Errors
    ///
    /// When it ends without a line.
    pub fn start(arguments: &[String]) -> Fallible<(Self, String)> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = child.stdout.take();
        let helper = Self { child };
        let mut line = String::new();
        if let Some(said) = said {
            BufReader::new(said).read_line(&mut line)?;
        }
        match line.trim_end() {
            "" => Err("the helper process ended without a word".into()),
            line => Ok((helper, line.to_owned())),
        }
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When the system says no.
    pub fn kill(mut self) -> Fallible<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    ///
    /// When it failed.
    pub fn join(mut self) -> Fallible<()> {
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("the helper failed: {status}").into())
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says the line that [`Helper::start`] waits for, and then waits to be killed.
pub fn say_and_wait(line: &str) -> ! {
    println!("{line}");
    loop {
        std::thread::park();
    }
}
