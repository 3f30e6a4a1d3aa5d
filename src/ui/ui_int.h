// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What tools/ui_embed.py generates: rows sorted by path in byte order. */
#include "ui/ui.h"

extern const struct ui_asset ui_table[];
extern const size_t ui_table_n;
