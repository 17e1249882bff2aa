module baseline

go 1.22

require (
	github.com/syndtr/goleveldb v1.0.1-0.20190923125748-758128399b1d
	golang.org/x/crypto v0.0.0-20200622213623-75b288015ac9
)

require (
	github.com/golang/snappy v0.0.1 // indirect
	golang.org/x/sys v0.0.0-20190412213103-97732733099d // indirect
)
