//! A schedule as a line of text: which thread took each step, and where chance began.

use std::fmt;
use std::str::FromStr;

/// Whose turn it was at each step of an execution. What looked like chance follows from the seed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Where chance begins.
    pub seed: u64,
    /// The thread of each step, by its number in the order of their births.
    pub steps: Vec<u32>,
}

const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The seed, a colon, and for each thread in its turn a letter, with the number of its steps when it
/// took several: `17:ab3a`. Threads beyond the letters stand as numbers in brackets.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.seed)?;
        for turn in self.steps.chunk_by(|one, next| one == next) {
            match LETTERS.get(turn[0] as usize) {
                Some(&letter) => write!(f, "{}", char::from(letter))?,
                None => write!(f, "({})", turn[0])?,
            }
            if turn.len() > 1 {
                write!(f, "{}", turn.len())?;
            }
        }
        Ok(())
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (seed, mut rest) = text.split_once(':').ok_or("there is no seed")?;
        let seed = seed.parse().map_err(|_| format!("{seed:?} is no seed"))?;
        let mut steps = Vec::new();
        while let Some(first) = rest.chars().next() {
            let thread;
            if first == '(' {
                let (number, behind) = rest[1..].split_once(')').ok_or("a bracket stays open")?;
                let number = number.parse();
                thread = number.map_err(|_| format!("no thread begins {rest:?}"))?;
                rest = behind;
            } else {
                let at = LETTERS
                    .iter()
                    .position(|&letter| char::from(letter) == first);
                thread = at.ok_or_else(|| format!("no thread begins {rest:?}"))? as u32;
                rest = &rest[1..];
            }
            let end = rest.find(|c: char| !c.is_ascii_digit());
            let (count, behind) = rest.split_at(end.unwrap_or(rest.len()));
            let count = match count {
                "" => 1,
                count => count.parse().map_err(|_| format!("{count} steps"))?,
            };
            steps.extend(std::iter::repeat_n(thread, count));
            rest = behind;
        }
        Ok(Self { seed, steps })
    }
}
