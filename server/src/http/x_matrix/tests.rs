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
        concat!(
            r#"X-Matrix origin="one\.example",key="ed25519:a_1",sig="c2ln","#,
            r#"destination="two.example:8448",more="a,b=c""#
        ),
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
