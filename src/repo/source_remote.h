/* The vault, through its client.                                                                         */
#ifndef CF_REPO_SOURCE_REMOTE_H
#define CF_REPO_SOURCE_REMOTE_H

#include "remote/remote.h"
#include "repo/source.h"

/* cf_source_remote_open: remote is borrowed until close; its token says which server's data is read.      */
cf_err *cf_source_remote_open(cf_remote *remote, cf_source **source);

#endif
