"""Several systems on the same data: quality with tests of significance, speed, memory, price, and what to take."""
