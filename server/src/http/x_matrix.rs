//! The `Authorization` header of requests between servers. Server-Server API, "Request Authentication".

#[cfg(test)]
mod tests;

/// The parameters of the header.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct XMatrix {
    pub origin: String,
    /// `None` in requests of servers older than version 1.3 of the specification.
    pub destination: Option<String>,
    /// The key's id, `ed25519:…`.
    pub key: String,
    /// In unpadded base64.
    pub signature: String,
}

impl XMatrix {
    /// Parses a header leniently: parameters in any order, names in any case, spaces around commas, values
    /// with or without quotes. `None` if the scheme is another one, or a parameter is missing.
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, mut rest) = header.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("X-Matrix") {
            return None;
        }
        let (mut origin, mut destination, mut key, mut signature) = (None, None, None, None);
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                break;
            }
            let (name, after) = rest.split_once('=')?;
            let (value, after) = value(after.trim_start())?;
            rest = after;
            match name.trim().to_ascii_lowercase().as_str() {
                "origin" => origin = Some(value),
                "destination" => destination = Some(value),
                "key" => key = Some(value),
                "sig" => signature = Some(value),
                // "Unknown parameters should be ignored."
                _ => {}
            }
        }
        Some(Self { origin: origin?, destination, key: key?, signature: signature? })
    }
}

/// Reads a value, quoted or not. Returns it and the rest of the text.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((index, char)) = chars.next() {
        match char {
            '"' => return Some((value, &quoted[index + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(char),
        }
    }
    None
}
