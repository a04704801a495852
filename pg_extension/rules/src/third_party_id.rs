//! [Third-party identifiers](https://spec.matrix.org/v1.19/appendices/#3pid-types): addresses of people elsewhere,
//! in the one form under which they are stored and compared.

use unicase::UniCase;

/// The canonical form of an e-mail address: all of it case-folded as the Unicode standard says, which is more than
/// lower case (`ß` becomes `ss`).
pub fn canonical_email(address: &str) -> String {
    UniCase::unicode(address).to_folded_case()
}
