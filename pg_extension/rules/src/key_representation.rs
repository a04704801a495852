//! Private keys as text that people write down and type.
//!
//! Spec: [Cryptographic key
//! representation](https://spec.matrix.org/v1.19/appendices/#cryptographic-key-representation).

const PREFIX: [u8; 2] = [0x8b, 0x01];
const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// The prefix, the key and a parity byte in base58, with a space after every fourth character.
pub fn encode(key: &[u8]) -> String {
    let mut bytes = PREFIX.to_vec();
    bytes.extend(key);
    bytes.push(parity(&bytes));
    let digits = convert(&bytes, 256, 58);
    let letters = digits.iter().map(|digit| char::from(ALPHABET[usize::from(*digit)])).collect::<Vec<_>>();
    letters.chunks(4).map(String::from_iter).collect::<Vec<_>>().join(" ")
}

/// Reads a key that [`encode`] wrote; `None` if the text is something else or was mistyped. Ignores white
/// space.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digit_of = |letter: char| ALPHABET.iter().position(|known| char::from(*known) == letter);
    let digits: Vec<u8> = text
        .chars()
        .filter(|char| !char.is_whitespace())
        .map(|letter| digit_of(letter).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let bytes = convert(&digits, 58, 256);
    let (_, key) = bytes.strip_prefix(&PREFIX)?.split_last()?;
    (parity(&bytes) == 0).then(|| key.to_vec())
}

fn parity(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |parity, byte| parity ^ byte)
}

/// Converts the digits of a number, most significant first, to another base (at most 256). Leading zeros are
/// lost; there are none, as the prefix does not begin with one.
fn convert(digits: &[u8], from: u32, to: u32) -> Vec<u8> {
    // The least significant digit comes first.
    let mut converted: Vec<u8> = Vec::new();
    for digit in digits {
        let mut carry = u32::from(*digit);
        for converted in &mut converted {
            carry += u32::from(*converted) * from;
            *converted = (carry % to) as u8;
            carry /= to;
        }
        while carry > 0 {
            converted.push((carry % to) as u8);
            carry /= to;
        }
    }
    converted.reverse();
    converted
}

#[cfg(test)]
mod tests;
