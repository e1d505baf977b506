package io.headwater
fun y(c: android.content.Context) = c.noBackupFilesDir
