//go:build !unix

package broker

func halfOfOpenFiles() int { return 512 }
