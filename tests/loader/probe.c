/* Loads a library as ctypes and torch.ops.load_library do, with folders added to the search path.

   probe.exe LIBRARY FOLDER ...

   Prints "started", and then "loaded" or why not. */

#include <stdio.h>
#include <windows.h>

static LONG WINAPI died(EXCEPTION_POINTERS *info)
{
    printf("died with exception %08lx\n", info->ExceptionRecord->ExceptionCode);
    fflush(stdout);
    ExitProcess(3);
}

int wmain(int count, wchar_t **arguments)
{
    printf("started\n");
    fflush(stdout);
    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX);
    SetUnhandledExceptionFilter(died);
    SetDefaultDllDirectories(LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
    for (int number = 2; number < count; number++)
        AddDllDirectory(arguments[number]);
    HMODULE library = LoadLibraryExW(
        arguments[1], NULL, LOAD_LIBRARY_SEARCH_DEFAULT_DIRS | LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR);
    if (library)
        printf("loaded\n");
    else
        printf("error %lu\n", GetLastError());
    fflush(stdout);
    /* Without running destructors. */
    TerminateProcess(GetCurrentProcess(), library ? 0 : 1);
}
