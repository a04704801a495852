use super::{Account, find};

#[test]
fn users_are_found_by_their_whole_name() {
    let users = "root:x:0:0:root:/root:/bin/bash\n\
        postgres2:x:7:7::/:/bin/sh\npostgres:x:105:112:x:/var:/bin/bash\nbad:x";
    assert_eq!(find(users, "postgres"), Some((105, 112)));
    assert_eq!(find(users, "nobody"), None);
    assert_eq!(find(users, "bad"), None);
}

#[test]
fn a_folder_is_entered_by_the_bit_that_applies() {
    let account = Account { uid: 105, gid: 112, drop: true };
    assert!(account.may_enter(0, 0, 0o755));
    assert!(!account.may_enter(0, 0, 0o700));
    assert!(account.may_enter(105, 0, 0o700));
    assert!(!account.may_enter(105, 0, 0o077));
    assert!(account.may_enter(0, 112, 0o710));
}
