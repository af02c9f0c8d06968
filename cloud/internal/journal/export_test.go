package journal

import "context"

// Open opens or makes a journal without reading it.
func Open(ctx context.Context, path string) (*Journal, error) {
	j := &Journal{path: path, codec: known()}
	if err := j.open(ctx); err != nil {
		return nil, err
	}
	return j, nil
}

// Replay gives all facts in their order.
func (j *Journal) Replay(ctx context.Context, each func(Entry)) error {
	return j.codec.walk(ctx, j.db, `ORDER BY n`, nil, func(e Entry) bool { each(e); return true })
}
