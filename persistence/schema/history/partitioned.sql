-- The records of the closed calls, a partition for each day of their closing: deleted by dropping a day. The default
-- partition is a net for a day that nobody has prepared.
create table history (
	closed   bigint not null,
	id       bigint not null,
	revision bigint not null,
	record   bytea  not null,
	primary key (closed, id)
) partition by range (closed);
create table history_default partition of history default;

-- An update finds room in its page (HOT), and what it leaves behind is soon cleaned up.
alter table live set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
alter table user_open set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
