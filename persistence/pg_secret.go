package persistence

import (
	"context"
	"fmt"
)

// Secret gives the bytes that all nodes on this database share under the name: those proposed, unless there are some
// already. Nodes that ask at once get the same, and what was once given stays. Without a name or a proposal it is an error;
// else errors are Load's.
func (p *Postgres) Secret(ctx context.Context, name string, proposed []byte) ([]byte, error) {
	const (
		propose = "insert into secrets (name, value) values ($1, $2) on conflict do nothing"
		look    = "select value from secrets where name = $1"
	)
	if name == "" || len(proposed) == 0 || len(proposed) > maxSecret {
		return nil, fmt.Errorf("a secret has a name and 1 to %d bytes, not %q and %d", maxSecret, name, len(proposed))
	}
	var value []byte
	err := p.reading(ctx, func(ctx context.Context) error { // repeated, it proposes the same again
		if _, err := p.pool.Exec(ctx, propose, name, proposed); err != nil {
			return err
		}
		return p.pool.QueryRow(ctx, look, name).Scan(&value)
	})
	return value, err
}
