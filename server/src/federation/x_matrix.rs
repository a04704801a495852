//! The `Authorization` header of requests between servers. Server-Server API, "Request Authentication".

/// What the header says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct XMatrix {
    pub origin: String,
    /// Absent in requests of servers older than version 1.3 of the specification.
    pub destination: Option<String>,
    /// The key's id, `ed25519:…`.
    pub key: String,
    /// In unpadded base64.
    pub signature: String,
}

impl XMatrix {
    /// Reads a header leniently: parameters in any order, names in any case, spaces around commas, values with or without
    /// quotes. `None` if it is none of this scheme, or lacks a parameter.
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

/// Reads a value, quoted or not, and gives what follows it.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> XMatrix {
        XMatrix {
            origin: "one.example".to_owned(),
            destination: Some("two.example:8448".to_owned()),
            key: "ed25519:a_1".to_owned(),
            signature: "c2ln".to_owned(),
        }
    }

    #[test]
    fn many_forms_are_read() {
        for text in [
            r#"X-Matrix origin="one.example",destination="two.example:8448",key="ed25519:a_1",sig="c2ln""#,
            r#"X-Matrix origin=one.example,destination=two.example:8448,key=ed25519:a_1,sig=c2ln"#,
            r#"x-matrix  Sig="c2ln" , KEY="ed25519:a_1",origin = "one.example",destination="two.example:8448""#,
            r#"X-Matrix origin="one\.example",key="ed25519:a_1",sig="c2ln",destination="two.example:8448",more="a,b=c""#,
            "X-Matrix origin=one.example,\tdestination=two.example:8448, key=ed25519:a_1, sig=c2ln,",
        ] {
            assert_eq!(XMatrix::parse(text), Some(full()), "{text}");
        }
    }

    #[test]
    fn the_destination_may_be_absent_and_nothing_else() {
        let read = XMatrix::parse(r#"X-Matrix origin="o",key="k",sig="s""#);
        assert_eq!(read.map(|header| header.destination), Some(None));
        for text in [
            "",
            "X-Matrix",
            "X-Matrix ",
            "Bearer abc",
            r#"X-Matrix origin="o",key="k""#,
            r#"X-Matrix origin="o",sig="s""#,
            r#"X-Matrix key="k",sig="s""#,
            r#"X-Matrix origin="o,key="k",sig="s"#,
            r#"X-Matrix origin"#,
        ] {
            assert_eq!(XMatrix::parse(text), None, "{text}");
        }
    }
}
