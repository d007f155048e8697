//! The name of an account.

use std::fmt;
use std::str::FromStr;

/// An account's address: 20 bytes, written as `0x` and 40 hexadecimal digits.
///
/// Addresses sort as their lower-case texts do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; Self::LEN]);

/// Why a text is not an [`Address`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an address is 0x and 40 hexadecimal digits")]
pub struct AddressError;

impl Address {
    /// How many bytes an address has.
    pub const LEN: usize = 20;

    /// Puts an address together.
    #[must_use]
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads an address in any mix of cases: checksummed addresses use both.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let digits = text.strip_prefix("0x").ok_or(AddressError)?.as_bytes();
        if digits.len() != 2 * Self::LEN {
            return Err(AddressError);
        }
        let mut bytes = [0; Self::LEN];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (hex_digit(pair[0])? << 4) | hex_digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

fn hex_digit(digit: u8) -> Result<u8, AddressError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(AddressError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_in_lower_case_however_it_came() {
        let lower = "0x00000000000000adc04c56bf30ac9d3c0aaf14dc";
        let mixed = "0x00000000000000ADC04C56Bf30aC9d3c0aAF14dC";
        let address: Address = mixed.parse().expect("an address");
        assert_eq!(address.to_string(), lower);
        assert_eq!(lower.parse(), Ok(address));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "0x",
            "00000000000000adc04c56bf30ac9d3c0aaf14dc",
            "0x00000000000000adc04c56bf30ac9d3c0aaf14d",
            "0x00000000000000adc04c56bf30ac9d3c0aaf14dcc",
            "0x00000000000000adc04c56bf30ac9d3c0aaf14dg",
            "0x00000000000000adc04c56bf30ac9d3c0aaf14é",
        ] {
            assert_eq!(text.parse::<Address>(), Err(AddressError), "{text:?}");
        }
    }
}
