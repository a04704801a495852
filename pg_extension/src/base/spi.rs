//! Runs SQL statements inside the backend. Their plans are kept as long as the backend lives.
//!
//! Canceling works only where the backend checks for interrupts: PostgreSQL does while a statement runs, and
//! this module for each row that is read. Other loops whose length a request chooses have checks of their
//! own.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use pgrx::{
    FromDatum, IntoDatum, PgOid, check_for_interrupts,
    datum::DatumWithOid,
    pg_sys,
    spi::{OwnedPreparedStatement, Spi, SpiClient, SpiHeapTupleData, SpiTupleTable},
};

/// Which snapshot the statements of a call see.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// All statements share the calling statement's snapshot. For STABLE functions.
    Read,
    /// Each statement takes a new snapshot, so that after a lock was taken it sees what the lock protects.
    /// For VOLATILE functions, for their reads too.
    Write,
}

thread_local! {
    /// Plans by address and length of their SQL constant. PostgreSQL itself replans them when a table
    /// changes.
    static PLANS: RefCell<HashMap<(usize, usize, Mode), Rc<Plan>>> = RefCell::default();
}

/// A statement that is kept, and the names of its result's columns, once it gave a row.
struct Plan {
    statement: OwnedPreparedStatement,
    columns: OnceCell<Rc<[String]>>,
}

/// The SPI connection of one function call.
///
/// PostgreSQL errors (a violated constraint, a canceled query) unwind as panics and abort the transaction. An
/// error of SPI itself is a bug in the statement, and panics with the statement's text.
pub struct Db<'c> {
    client: &'c SpiClient<'c>,
    mode: Mode,
}

/// Runs `work` with an SPI connection, for [`connect`](crate::base::connection::connect).
pub(super) fn open<R>(mode: Mode, work: impl FnOnce(&Db<'_>) -> R) -> R {
    Spi::connect(|client| work(&Db { client, mode }))
}

impl<'c> Db<'c> {
    /// Which snapshot the statements see.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Runs a statement and returns its rows. `sql` must be a constant: its plan is kept under its address.
    pub fn query(&self, sql: &'static str, args: &[DatumWithOid<'_>]) -> Rows<'c> {
        let key = (sql.as_ptr() as usize, sql.len(), self.mode);
        let kept = PLANS.with_borrow(|plans| plans.get(&key).cloned());
        let plan = kept.unwrap_or_else(|| {
            let types: Vec<PgOid> = args.iter().map(|arg| PgOid::from(arg.oid())).collect();
            let prepared = match self.mode {
                Mode::Read => self.client.prepare(sql, &types),
                Mode::Write => self.client.prepare_mut(sql, &types),
            };
            let statement = prepared.unwrap_or_else(|error| panic!("cannot prepare {sql}: {error}")).keep();
            let plan = Rc::new(Plan { statement, columns: OnceCell::new() });
            PLANS.with_borrow_mut(|plans| plans.insert(key, Rc::clone(&plan)));
            plan
        });
        let table = self
            .client
            .select(&plan.statement, None, args)
            .unwrap_or_else(|error| panic!("cannot run {sql}: {error}"));
        Rows { table, sql, plan }
    }

    /// The first row, if any.
    pub fn query_opt(&self, sql: &'static str, args: &[DatumWithOid<'_>]) -> Option<Row<'c>> {
        self.query(sql, args).next()
    }

    /// The first row of a statement that always returns one.
    pub fn query_one(&self, sql: &'static str, args: &[DatumWithOid<'_>]) -> Row<'c> {
        self.query_opt(sql, args).unwrap_or_else(|| panic!("no row from {sql}"))
    }

    /// Runs a statement for its effect. Returns the number of rows that it returned or changed.
    pub fn execute(&self, sql: &'static str, args: &[DatumWithOid<'_>]) -> usize {
        self.query(sql, args).table.len()
    }
}

/// Rows of a statement, in order.
pub struct Rows<'c> {
    table: SpiTupleTable<'c>,
    sql: &'static str,
    plan: Rc<Plan>,
}

impl<'c> Iterator for Rows<'c> {
    type Item = Row<'c>;

    fn next(&mut self) -> Option<Row<'c>> {
        check_for_interrupts!();
        let tuple = self.table.next()?;
        let columns = Rc::clone(self.plan.columns.get_or_init(|| column_names(&self.table)));
        Some(Row { tuple, sql: self.sql, columns, next: Cell::new(0) })
    }
}

/// The names of a result's columns, in order.
fn column_names(table: &SpiTupleTable<'_>) -> Rc<[String]> {
    let count = table.columns().unwrap_or_default();
    (1..=count).map(|ordinal| table.column_name(ordinal).unwrap_or_default()).collect()
}

/// One row, read by the names of its columns. A name that the statement does not have is a bug, and panics.
pub struct Row<'c> {
    tuple: SpiHeapTupleData<'c>,
    sql: &'static str,
    columns: Rc<[String]>,
    /// The column after the one read last, which mostly is the one read next.
    next: Cell<usize>,
}

impl Row<'_> {
    /// A column that may be NULL.
    pub fn opt<T: FromDatum + IntoDatum>(&self, column: &str) -> Option<T> {
        let index = self.index(column);
        // SPI counts from 1.
        self.tuple.get(index + 1).unwrap_or_else(|error| panic!("column {column} of {}: {error}", self.sql))
    }

    fn index(&self, column: &str) -> usize {
        let (before, from_next) = self.columns.split_at(self.next.get());
        let is_named = |name: &String| name == column;
        let index = match from_next.iter().position(is_named) {
            Some(position) => before.len() + position,
            None => before
                .iter()
                .position(is_named)
                .unwrap_or_else(|| panic!("there is no column {column} in {}", self.sql)),
        };
        self.next.set(index + 1);
        index
    }

    /// A column that is never NULL.
    pub fn get<T: FromDatum + IntoDatum>(&self, column: &str) -> T {
        self.opt(column).unwrap_or_else(|| panic!("column {column} of {} is null", self.sql))
    }
}

/// PostgreSQL's text form of `bigint[]`. Arrays of different lengths cannot be one array parameter, their
/// texts can.
pub fn nids_literal(nids: impl IntoIterator<Item = i64>) -> String {
    let nids: Vec<String> = nids.into_iter().map(|nid| nid.to_string()).collect();
    format!("{{{}}}", nids.join(","))
}

/// PostgreSQL's text form of `text[]`; see [`nids_literal`].
pub fn texts_literal(texts: &[String]) -> String {
    let quoted = |text: &String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let texts: Vec<String> = texts.iter().map(quoted).collect();
    format!("{{{}}}", texts.join(","))
}

/// A transaction id: the SQL type `xid8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Xid(pub u64);

impl FromDatum for Xid {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        (!is_null).then(|| Self(datum.value() as u64))
    }
}

impl IntoDatum for Xid {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(pg_sys::Datum::from(self.0))
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::XID8OID
    }
}
