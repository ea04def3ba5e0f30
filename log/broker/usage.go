package broker

// Usage is what the directory takes: the bytes of all partitions' segments,
// without their indexes, and what is free in its file system for this process.
func (b *Broker) Usage() (used int64, free uint64, err error) {
	for _, p := range b.allPartitions() {
		if l := p.log.Load(); l != nil {
			used += l.Bytes()
		}
	}
	free, err = b.fs.FreeBytes(b.cfg.Dir)
	return used, free, err
}
