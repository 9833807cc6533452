/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is done for people at a terminal and never in a pipe, in systemctl's manner: colours and a
 * pager.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Is stdout a terminal that shows colours, and nobody minds ($NO_COLOR, $SYSTEMD_COLORS=0)? */
bool terminal_has_colours(void);

enum colour { PLAIN, BOLD, GREEN, YELLOW, RED };

/* The text in that colour, in the buffer; as it is where colours are off. */
const char *coloured(bool colours, enum colour colour, const char *text, char *buffer, size_t size);

/*
 * Lets a pager show what is printed from now on, if stdout is a terminal: $SYSTEMD_PAGER or $PAGER,
 * of which an empty one and "cat" mean none, or else less or more. Ask for colours before.
 */
void pager_begin(void);

/* Waits until whoever reads is done. Without a pager it does nothing. */
void pager_end(void);
