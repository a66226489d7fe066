-- +goose Up
-- What all nodes on this database share, by its name; written once.
create table secrets (
	name  text  primary key,
	value bytea not null
);

-- +goose Down
drop table secrets;
