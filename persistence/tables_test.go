package persistence

import (
	"context"
	"fmt"
	"testing"
)

// consistentTables reads all tables and fails unless the rows are exactly those that the records call for.
func consistentTables(t testing.TB, p *Postgres) {
	t.Helper()
	want := make(map[string]bool)
	records := func(sql string, isClosed bool) {
		t.Helper()
		rows, err := p.query(context.Background(), sql)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			s, err := decode(r.id, r.record)
			if err != nil {
				t.Fatal(err)
			}
			if s.Closed != isClosed {
				t.Fatalf("call %s: Closed is %v in the wrong table", s.ID, s.Closed)
			}
			if key := fmt.Sprint("calls ", s.ID); want[key] {
				t.Fatalf("call %s is both open and closed", s.ID)
			} else {
				want[key] = true
			}
			for _, u := range s.Users {
				want[fmt.Sprint("user_calls ", string(u.User), " ", int64(s.Created), s.ID)] = true
				if !isClosed {
					want[fmt.Sprint("user_open ", string(u.User), " ", int64(s.Created), s.ID)] = true
				}
			}
		}
	}
	records("select id, record from live", false)
	records("select h.id, h.record from calls c join history h on h.closed = c.closed and h.id = c.id", true)
	for _, table := range []string{"calls", "user_calls", "user_open"} {
		for _, key := range rowsOf(t, p, table) {
			if !want[key] {
				t.Fatalf("row %s leads nowhere", key)
			}
			delete(want, key)
		}
	}
	for k := range want {
		t.Fatalf("row %s is missing", k)
	}
}

func rowsOf(t testing.TB, p *Postgres, table string) (keys []string) {
	t.Helper()
	sql := "select ''::bytea, 0::bigint, id from " + table
	if table != "calls" {
		sql = "select usr, created, id from " + table
	}
	rows, err := p.pool.Query(context.Background(), sql)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var user []byte
		var created, id int64
		if err := rows.Scan(&user, &created, &id); err != nil {
			t.Fatal(err)
		}
		if table == "calls" {
			keys = append(keys, fmt.Sprint("calls ", idIn(id)))
		} else {
			keys = append(keys, fmt.Sprint(table, " ", string(user), " ", created, idIn(id)))
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return keys
}
