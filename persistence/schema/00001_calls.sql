-- +goose Up
-- The SQL here is kept to what PostgreSQL, CockroachDB and YugabyteDB have in common.
-- id is a call's ID with its upper bit inverted, so that signed numbers sort as IDs do; instants are Unix milliseconds.

-- Every call that exists: the one place where an ID is taken, from its creation to its deletion.
create table calls (
	id     bigint primary key,
	closed bigint             -- when it was taken out of the open calls; null: it is open
);
create index calls_closed on calls (closed) where closed is not null;

-- The records of the open calls. No column that changes is indexed.
create table live (
	id       bigint primary key,
	revision bigint not null,
	record   bytea  not null
);

-- A call in a user's list.
create table user_calls (
	usr     bytea  not null,
	created bigint not null,
	id      bigint not null,
	primary key (usr, created, id)
);

-- The same, for the open calls only.
create table user_open (
	usr     bytea  not null,
	created bigint not null,
	id      bigint not null,
	primary key (usr, created, id)
);

-- The registered users.
create table users (
	usr bytea primary key
);

-- +goose Down
drop table users;
drop table user_open;
drop table user_calls;
drop table live;
drop table calls;
