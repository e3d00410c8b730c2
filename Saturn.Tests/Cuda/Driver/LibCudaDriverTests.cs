using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;

namespace Saturn.Tests.Cuda.Driver;

/// <summary>What the binding of the CUDA driver passes to it, and what it makes of result codes, against a library made of managed functions.</summary>
[NonParallelizable]
public sealed unsafe class LibCudaDriverTests
{
    [Test]
    public void The_binding_asks_for_the_exports_that_the_headers_macros_hide()
    {
        using LibCudaDriver driver = FakeCudaLibrary.Open();
        Assert.That(FakeCudaLibrary.Asked, Is.EquivalentTo((string[])
        [
            "cuInit", "cuDriverGetVersion", "cuGetErrorName", "cuGetErrorString", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute", "cuDevicePrimaryCtxRetain",
            "cuDevicePrimaryCtxRelease_v2", "cuCtxSetCurrent", "cuModuleLoadDataEx", "cuModuleUnload", "cuModuleGetFunction", "cuFuncGetAttribute", "cuFuncSetAttribute", "cuLaunchKernel",
            "cuLaunchKernelEx", "cuTensorMapEncodeTiled", "cuTensorMapEncodeIm2col", "cuMemGetInfo_v2", "cuMemAlloc_v2", "cuMemFree_v2", "cuMemAllocAsync", "cuMemFreeAsync", "cuMemHostAlloc", "cuMemFreeHost", "cuMemcpyHtoDAsync_v2",
            "cuMemcpyDtoHAsync_v2", "cuMemcpyDtoDAsync_v2", "cuMemsetD8Async", "cuMemsetD32Async", "cuStreamCreate", "cuStreamDestroy_v2", "cuStreamSynchronize", "cuStreamWaitEvent",
            "cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuEventCreate", "cuEventDestroy_v2", "cuEventRecord", "cuEventQuery", "cuEventSynchronize", "cuEventElapsedTime",
            "cuGraphInstantiateWithFlags", "cuGraphLaunch", "cuGraphDestroy", "cuGraphExecDestroy",
        ]));
    }

    [TestCase(90, "sm_90a")]
    [TestCase(80, "sm_80")]
    [TestCase(86, "sm_86")]
    [TestCase(120, "sm_120")]
    public void Machine_code_is_for_the_devices_own_architecture(int capability, string architecture)
    {
        FakeCudaLibrary.Open().Dispose();
        FakeCudaLibrary.Capability = capability;
        using LibCudaDriver driver = FakeCudaLibrary.OpenAsIs();
        Assert.That(driver.TargetArchitecture(1), Is.EqualTo(architecture));
        Assert.That(driver.DeviceCount, Is.EqualTo(2));
        Assert.That(driver.DeviceName(1), Is.EqualTo("Fake 1234"));
        Assert.That(driver.DeviceAttribute(1, CudaDeviceAttribute.MultiprocessorCount), Is.EqualTo(16_011));
        Assert.That(driver.Description, Is.EqualTo("CUDA driver 12.4 at /fake/libcuda.so.1"));
    }

    [Test]
    public void A_launch_passes_one_buffer_of_arguments()
    {
        using LibCudaDriver driver = FakeCudaLibrary.Open();
        long argument = 123_456_789_012;
        driver.Launch(5, new LaunchGeometry(1, 2, 3, 4, 5, 6, 7), &argument, 8, 9);
        Assert.That(FakeCudaLibrary.LastCall, Is.EqualTo("5: 1 2 3, 4 5 6, 7 on 9, null, extra 1 123456789012 2 8 0"));
        driver.LaunchWithAttributes(5, new LaunchGeometry(1, 2, 3, 4, 5, 6, 7), [new CudaLaunchAttribute(4, 2, 3, 1), new CudaLaunchAttribute(6, 1)], &argument, 8, 9);
        Assert.That(FakeCudaLibrary.LastCall, Is.EqualTo("5: 1 2 3, 4 5 6, 7 on 9, null, extra 1 123456789012 2 8 0, attribute 4 2 3 1, attribute 6 1 0 0"));
    }

    [Test]
    public void Calls_pass_their_flags_and_sizes()
    {
        using LibCudaDriver driver = FakeCudaLibrary.Open();
        Assert.That((driver.CreateStream(), FakeCudaLibrary.LastCall), Is.EqualTo(((nint)99, "flags 1")), "non-blocking");
        Assert.That((driver.CreateEvent(timing: false), FakeCudaLibrary.LastCall), Is.EqualTo(((nint)66, "flags 2")), "without timing");
        Assert.That((driver.CreateEvent(timing: true), FakeCudaLibrary.LastCall), Is.EqualTo(((nint)66, "flags 0")));
        driver.BeginCapture(99);
        Assert.That(FakeCudaLibrary.LastCall, Is.EqualTo("stream 99, mode 1"), "thread local");
        driver.FillAsync(1024, 7, 12, 99);
        Assert.That(FakeCudaLibrary.LastCall, Is.EqualTo("12 bytes of 7 at 1024 on 99"));
        driver.FillWordsAsync(1024, 0xFFFF_FFFF, 3, 99);
        Assert.That(FakeCudaLibrary.LastCall, Is.EqualTo("3 words of 4294967295 at 1024 on 99"));
        Assert.That((long)driver.Allocate(5L << 32), Is.EqualTo(5L << 32));
        Assert.That(driver.MemoryInformation(), Is.EqualTo((3L, 5L)));
        Assert.That(driver.LoadModule("text"u8, "a.cu"), Is.EqualTo((nint)77));
        Assert.That(FakeCudaLibrary.LastCall, Is.EqualTo("text with options 5 6, log of 16384 bytes"), "error log and its size; the image ends with a zero");
        Assert.That((driver.GetFunction(77, "kernel"), FakeCudaLibrary.LastCall), Is.EqualTo(((nint)88, "kernel of 77")));
    }

    [Test]
    public void Tensor_maps_are_encoded_at_an_aligned_place_with_the_headers_numbers()
    {
        using LibCudaDriver driver = FakeCudaLibrary.Open();
        TensorMap boxes = driver.EncodeTensorMap(new TensorMapSource(TensorMapElement.BFloat16, 4_096, [37, 9], [80], [1, 2], TensorMapSwizzle.Bytes128), [64, 8]);
        Assert.That(FakeCudaLibrary.LastCall, Is.EqualTo("type 9, rank 2, 4096, sizes 37 9, stride 80, box 64 8, steps 1 2, 0 3 3 0"));
        Assert.That(boxes.Words[15], Is.EqualTo(4_321));
        TensorMap pixels = driver.EncodeTensorMap(
            new TensorMapSource(TensorMapElement.Float32, 4_096, [8, 7, 6, 5], [32, 224, 1_344], [1, 2, 3, 1], TensorMapSwizzle.None), new PixelBox(-1, -2, -3, -4, 8, 128));
        Assert.That(
            FakeCudaLibrary.LastCall,
            Is.EqualTo("type 7, rank 4, 4096, sizes 8 7 6 5, strides 32 224 1344, lower -1 -2, upper -3 -4, 8 channels, 128 pixels, steps 1 2 3 1, 0 0 3 0"), "columns before rows");
        Assert.That(pixels.Words[15], Is.EqualTo(4_321));
    }

    [Test]
    public void Tensor_maps_need_a_driver_of_CUDA_12()
    {
        using LibCudaDriver driver = FakeCudaLibrary.OpenOlder();
        Assert.That(
            Assert.Throws<CudaException>(() => driver.EncodeTensorMap(new TensorMapSource(TensorMapElement.Float32, 4_096, [8], [], [1], TensorMapSwizzle.None), [8]))!.Message,
            Does.Contain("cuTensorMapEncodeTiled").And.Contain("CUDA 12.0"));
    }

    [Test]
    public void A_launch_allocates_nothing_on_the_managed_heap()
    {
        using LibCudaDriver driver = FakeCudaLibrary.Open();
        long argument = 1;
        LaunchGeometry geometry = new(1, 1, 1, 32);
        FakeCudaLibrary.Records = false;
        driver.Launch(5, geometry, &argument, 8, 9);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++)
        {
            driver.Launch(5, geometry, &argument, 8, 9);
            driver.FillAsync(1024, 0, 0, 9);
            driver.QueryEvent(66);
            driver.SynchronizeStream(9);
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    [Test]
    public void Out_of_memory_has_an_exception_of_its_own()
    {
        using LibCudaDriver driver = FakeCudaLibrary.Open();
        FakeCudaLibrary.Result = 2;
        Assert.That(Assert.Throws<DeviceOutOfMemoryException>(() => driver.Allocate(4_096))!.Message, Does.Contain("cuMemAlloc failed").And.Contain("4096 bytes").And.Contain("smaller batch"));
        Assert.That(driver.IsLost, Is.False);
    }

    [Test]
    public void Errors_name_call_code_text_and_what_it_was_about()
    {
        using LibCudaDriver driver = FakeCudaLibrary.Open();
        driver.GetFunction(77, "relu");
        FakeCudaLibrary.Result = 1;
        long argument = 1;
        long* pointer = &argument;
        CudaException exception = Assert.Throws<CudaException>(() => driver.Launch(88, new LaunchGeometry(1, 2, 3, 4), pointer, 8, 9))!;
        Assert.That(exception.Code, Is.EqualTo(1));
        Assert.That(exception.Message, Does.Contain("cuLaunchKernel failed with CUDA_ERROR_NUMBER_1 (1): text of 1").And.Contain("kernel relu").And.Contain("grid (1, 2, 3)").And.Contain("CUDA driver 12.4 at /fake"));
    }

    [TestCase(222, "newer NVIDIA driver")]
    [TestCase(209, "sm_90a")]
    [TestCase(218, "line 12: no such instruction")]
    public void A_module_that_does_not_load_shows_the_drivers_log_and_what_to_do(int code, string expected)
    {
        using LibCudaDriver driver = FakeCudaLibrary.Open();
        FakeCudaLibrary.Result = code;
        FakeCudaLibrary.ModuleLog = "ptxas error, line 12: no such instruction";
        Assert.That(
            Assert.Throws<CudaException>(() => driver.LoadModule("x"u8, "conv.cu"))!.Message,
            Does.Contain(expected).And.Contain("conv.cu").And.Contain("line 12").And.Contain("12.4"));
    }

    [TestCase(100, "--device cpu or --device emulated")]
    [TestCase(803, "restart the machine")]
    [TestCase(34, "stub")]
    [TestCase(802, "fabricmanager")]
    public void A_driver_that_does_not_start_says_what_to_do(int code, string expected)
    {
        FakeCudaLibrary.Open().Dispose();
        FakeCudaLibrary.InitializeResult = code;
        CudaException exception = Assert.Throws<CudaException>(() => FakeCudaLibrary.OpenAsIs())!;
        Assert.That(exception.Message, Does.Contain("cuInit").And.Contain(expected));
        Assert.That(exception.Code, Is.EqualTo(code));
        FakeCudaLibrary.InitializeResult = 0;
    }

    [Test]
    public void A_lost_context_says_so_and_lets_its_owners_go()
    {
        using LibCudaDriver driver = FakeCudaLibrary.Open();
        FakeCudaLibrary.Result = 1;
        Assert.Throws<CudaException>(() => driver.Free(16), "a release that fails for another reason is reported");
        FakeCudaLibrary.Result = 700;
        CudaException exception = Assert.Throws<CudaException>(() => driver.SynchronizeStream(9))!;
        Assert.That(exception.IsSticky);
        Assert.That(exception.Message, Does.Contain("restart the process").And.Contain("checkpoint").And.Contain("--resume"));
        Assert.That(driver.IsLost);
        driver.Free(16);
        driver.DestroyStream(9);
        driver.ReleasePrimaryContext(0);
    }

    [Test]
    public void A_query_tells_ready_from_not_ready_from_failed()
    {
        using LibCudaDriver driver = FakeCudaLibrary.Open();
        Assert.That(driver.QueryEvent(66), Is.True);
        FakeCudaLibrary.Result = 600;
        Assert.That(driver.QueryEvent(66), Is.False);
        FakeCudaLibrary.Result = 719;
        Assert.Throws<CudaException>(() => driver.QueryEvent(66));
    }
}
