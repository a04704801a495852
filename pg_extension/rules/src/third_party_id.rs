//! [Third-party identifiers](https://spec.matrix.org/v1.19/appendices/#3pid-types), such as e-mail addresses,
//! in the canonical form in which they are stored and compared.

use unicase::UniCase;

/// The canonical form of an e-mail address: all of it case-folded by the Unicode standard, which does more
/// than lower case (`ß` becomes `ss`).
pub fn canonical_email(address: &str) -> String {
    UniCase::unicode(address).to_folded_case()
}
