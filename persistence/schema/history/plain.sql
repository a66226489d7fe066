-- The records of the closed calls, where the server isn't PostgreSQL: deleted one by one.
create table history (
	closed   bigint not null,
	id       bigint not null,
	revision bigint not null,
	record   bytea  not null,
	primary key (closed, id)
);
